"""What all pictures share: figures, colours, labels, and how they become PNG bytes.

Figures are made without pyplot, so that no state is shared between threads.
"""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 100
INK, GREY, GRID = "#22303c", "#8a97a3", "#e4e8ec"
BLUE, ORANGE = "#1f6fb2", "#e07b28"
LEGEND: Mapping[str, Any] = {"frameon": False, "fontsize": 8, "title_fontsize": 8}


def make_canvas(
    panels: int, size: tuple[float, float], rows: int = 1, left: float = 0.6, bottom: float = 0.55
) -> tuple["Figure", list["Axes"]]:
    """A figure and its panels; sizes and margins in inches.

    Margins are set here since a layout engine draws every figure twice.
    """
    from matplotlib.figure import Figure

    width, height = size
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, facecolor="white")
    figure.subplots_adjust(
        left=left / width,
        right=1 - 0.2 / width,
        bottom=bottom / height,
        top=1 - 0.4 / height,
        wspace=0.22,
        hspace=0.25,
    )
    # the upper panel of two is the picture, the lower its footnote
    ratios = [3, 1] if rows > 1 else None
    axes = figure.subplots(rows, panels // rows, squeeze=False, height_ratios=ratios)
    return figure, list(axes.ravel())


def set_labels(axes: "Axes", title: str, horizontal: str, vertical: str) -> None:
    """Gives a panel its title and the names of its axes, and the look that all panels share."""
    axes.set_title(title, fontsize=11, color=INK, loc="left", weight="bold")
    axes.set_xlabel(horizontal, fontsize=9, color=INK)
    axes.set_ylabel(vertical, fontsize=9, color=INK)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.set_axisbelow(True)
    if not axes.images:
        axes.grid(color=GRID, lw=0.8)


def shorten(name: str, longest: int = 16) -> str:
    """A name that fits into a picture."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def as_png(figure: "Figure") -> bytes:
    """A figure as the bytes of a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    # a dollar sign in somebody's data begins no formula
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    stream = io.BytesIO()
    # without the name of the software the bytes depend on the picture only
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()
