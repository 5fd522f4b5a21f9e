"""The pictures of an explanation: what was found in, PNG bytes out; the same gives the same."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.appraisal import ExplainedRow, Importance
from tasks.canvas import BLUE, GREY, INK, ORANGE, as_png, make_canvas, set_labels, shorten
from tasks.explaining import Explained
from tasks.handoffs import InputKind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

# more become unreadable
BARS, ROWS, MAPS, LAYERS = 20, 24, 12, 12
# of a line of tokens, and of a character of the font with equal widths, in inches
LINE, CHARACTER = 0.27, 0.082
WIDTH = 9.0


def importance_bars(importances: Sequence[Importance], metric: str) -> bytes:
    """What the metric loses by each column, the largest loss on top, with its deviation.

    Args:
        importances: The largest first; the first twenty are shown.
        metric: Name of the metric.
    """
    shown = list(importances[:BARS])[::-1]
    names = [shorten(importance.column, 28) for importance in shown]
    margin = 0.4 + 0.075 * max(map(len, names))
    figure, (axes,) = make_canvas(1, (5 + margin, 1.2 + 0.24 * len(shown)), left=margin)
    means, deviations = ([getattr(one, key) for one in shown] for key in ("mean", "deviation"))
    axes.barh(
        range(len(shown)), means, xerr=deviations, color=BLUE, height=0.66,
        error_kw={"ecolor": INK, "lw": 1},
    )  # fmt: skip
    # by their places: two long names may be shortened to the same
    axes.set_yticks(range(len(shown)), names)
    axes.axvline(0, color=GREY, lw=1)
    lost = f"Loss of {metric} when the column is shuffled"
    set_labels(axes, "Importance of columns, test rows", lost, "")
    return as_png(figure)


def row_sheet(
    explained: Explained, inputs: NDArray[Any], maximum: int | None, kind: InputKind
) -> bytes:
    """The picture of explained rows that suits what a row is.

    Args:
        explained: At least one row.
        inputs: The rows as the model takes them, [rows, ...].
        maximum: Largest pixel value; only for images.
        kind: What a row is.
    """
    if maximum is not None and explained.heat is not None:
        return row_images(inputs, maximum, explained.rows, explained.heat, explained.regions)
    return row_tokens(explained.rows) if kind == "text" else row_bars(explained.rows)


def row_bars(rows: Sequence[ExplainedRow]) -> bytes:
    """What the columns of each row add to its prediction, a panel for each row.

    Args:
        rows: The first twenty-four are shown.
    """
    rows = rows[:ROWS]
    across, longest = min(2, len(rows)), max(len(row.attributions) for row in rows)
    down, panel = -(-len(rows) // across), 0.8 + 0.2 * longest
    size = (5.2 * across, panel * down + 0.4)
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=100, facecolor="white")
    for place, row in enumerate(rows):
        line, column = divmod(place, across)
        left, bottom = 5.2 * column + 2.1, size[1] - panel * (line + 1) + 0.1
        box = (left / size[0], bottom / size[1], 2.9 / size[0], (panel - 0.6) / size[1])
        axes = figure.add_axes(box)
        parts = row.attributions[::-1]
        colours = [ORANGE if value > 0 else BLUE for _, value in parts]
        places = range(longest - len(parts), longest)
        axes.barh(places, [value for _, value in parts], color=colours, height=0.66)
        axes.set_yticks(places, [shorten(name, 32) for name, _ in parts])
        axes.set_ylim(-0.6, longest - 0.4)
        axes.axvline(0, color=GREY, lw=1)
        set_labels(axes, "", "", "")
        axes.tick_params(labelsize=7)
        axes.set_title(_title(row), fontsize=9, color=INK, loc="right")
    return as_png(figure)


def row_tokens(rows: Sequence[ExplainedRow]) -> bytes:
    """The tokens of each row, coloured by what they add to its prediction.

    Args:
        rows: The first twenty-four are shown.
    """
    rows = rows[:ROWS]
    lines = [_wrapped(row.attributions) for row in rows]
    height = 0.75 + sum(0.42 + LINE * len(found) for found in lines)
    figure, (axes,) = _blank(WIDTH, height)
    colours, top = _colours(), 0.55
    for row, found in zip(rows, lines, strict=True):
        axes.text(0.15, top, _title(row), fontsize=9, color=INK, weight="bold", va="center")
        largest = max((abs(value) for _, value in row.attributions), default=0.0) or 1.0
        for number, line in enumerate(found, start=1):
            for left, name, value in line:
                paper = {"facecolor": colours(0.5 + value / largest / 2), "lw": 0, "pad": 1.5}
                axes.text(
                    0.15 + left, top + LINE * number, name, family="monospace", fontsize=9.8,
                    color=INK, va="center", bbox=paper,
                )  # fmt: skip
        top += 0.42 + LINE * len(found)
    _colour_bar(figure, (WIDTH - 2.6, height - 0.3, 1.4, 0.1), (WIDTH, height), "horizontal")
    return as_png(figure)


def row_images(
    images: NDArray[np.uint8],
    maximum: int,
    rows: Sequence[ExplainedRow],
    heat: NDArray[np.float32],
    regions: NDArray[np.float32] | None,
) -> bytes:
    """Each image, what its pixels add to the prediction, and where the convolutions find it.

    Args:
        images: uint8 [rows, height, width, channels]; the first twenty-four are shown.
        maximum: Largest pixel value.
        rows: The rows.
        heat: What each pixel adds, [rows, height, width].
        regions: Of Grad-CAM, [rows, height, width], or None.
    """
    kinds = ["", "integrated gradients", *(["Grad-CAM"] if regions is not None else [])]
    rows = rows[:ROWS]
    across = min(2, len(rows))
    down, block = -(-len(rows) // across), len(kinds) + 0.25
    size = (1.3 * block * across + 0.8, 1.55 * down + 0.45)
    figure, (axes,) = _blank(*size)
    for place, row in enumerate(rows):
        line, column = divmod(place, across)
        left, top = 1.3 * block * column + 0.15, 0.4 + 1.55 * line
        tiles = [_shown(images[place], maximum), _over(images[place], maximum, heat[place])]
        if regions is not None:
            tiles.append(_over(images[place], maximum, regions[place]))
        axes.text(left, top + 0.12, _title(row), fontsize=8.5, color=INK, va="center")
        for number, (tile, kind) in enumerate(zip(tiles, kinds, strict=True)):
            _place(axes, tile, left + 1.3 * number, top + 0.25, 1.22, 1.22)
            if line == 0:
                axes.text(left + 1.3 * number, 0.28, kind, fontsize=8, color=GREY)
    _colour_bar(figure, (size[0] - 0.75, size[1] / 2 - 0.5, 0.09, 1.0), size, "vertical")
    return as_png(figure)


def activation_maps(
    image: NDArray[np.uint8], maximum: int, found: Mapping[str, NDArray[np.float32]]
) -> bytes:
    """What the layers give for one image: maps of those with places, a strip of the others.

    Args:
        image: uint8 [height, width, channels].
        maximum: Largest pixel value.
        found: From `tasks.layers.activations`; of a layer the twelve strongest maps are shown.
    """
    layers = _changing(found)
    heights = [0.75 if values.ndim == image.ndim else 0.22 for values in layers.values()]
    height = 1.4 + sum(heights) + 0.12 * len(heights)
    figure, (axes,) = _blank(WIDTH + 1.9, height)
    axes.text(0.1, 0.2, "Activations of the layers, one test row", fontsize=11, color=INK,
              weight="bold", va="center")  # fmt: skip
    _place(axes, _shown(image, maximum), 1.75, 0.4, 0.75, 0.75)
    top = 1.27
    for (name, values), tall in zip(layers.items(), heights, strict=True):
        axes.text(0.1, top + tall / 2, shorten(name.rpartition("/")[2], 22), fontsize=8,
                  color=INK, va="center")  # fmt: skip
        if values.ndim == image.ndim:
            strongest = np.sort(np.argsort(-values.max(axis=(0, 1)), kind="stable")[:MAPS])
            for number, place in enumerate(strongest):
                _place(axes, _inked(values[..., place]), 1.75 + 0.76 * number, top, 0.72, 0.75)
        else:
            _place(axes, _inked(values.reshape(1, -1)), 1.75, top, 0.76 * MAPS - 0.04, tall)
        top += tall + 0.12
    return as_png(figure)


def _changing(found: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The last of the layers whose numbers are not just those of the layer before."""
    kept: dict[str, NDArray[np.float32]] = {}
    before = np.empty(0, np.float32)
    for name, values in found.items():
        if values.size and not np.array_equal(values.ravel(), before):
            kept[name] = values
        before = values.ravel()
    # the first one is the image again
    return dict(list(kept.items())[1:][-LAYERS:])


def _title(row: ExplainedRow) -> str:
    """A row in a few words: its number, whether it is a mistake, and what the model says."""
    number = f"row {row.row:,}" if row.row >= 0 else "your row"
    truth = f"{shorten(row.truth)} → " if row.truth else ""
    sure = "" if row.confidence is None else f"  {row.confidence:.0%}"
    mistake = "mistake, " if row.chosen == "mistake" else ""
    return f"{mistake}{number}: {truth}{shorten(row.prediction)}{sure}"


def _wrapped(parts: Sequence[tuple[str, float]]) -> list[list[tuple[float, str, float]]]:
    """Tokens in lines: where each begins in inches, its text, and its value."""
    lines: list[list[tuple[float, str, float]]] = [[]]
    left = 0.0
    for name, value in parts:
        text = shorten(name, 40)
        wide = CHARACTER * (len(text) + 1) + 0.04
        if left + wide > WIDTH - 0.3 and lines[-1]:
            lines.append([])
            left = 0.0
        lines[-1].append((left, text, value))
        left += wide
    return lines


def _shown(image: NDArray[np.uint8], maximum: int) -> NDArray[np.float64]:
    """An image as colours [height, width, 3]; one without colour as ink on paper."""
    pixels = image.astype(np.float64) / maximum
    return pixels if pixels.shape[-1] > 1 else np.repeat(1 - pixels, 3, axis=-1)


def _over(image: NDArray[np.uint8], maximum: int, heat: NDArray[np.float32]) -> NDArray[np.float64]:
    """Heat over a pale image, as colours [height, width, 3]; the strongest place is opaque."""
    pale = 0.55 + 0.45 * _shown(image, maximum).mean(axis=-1, keepdims=True)
    strength = heat / (np.abs(heat).max() or 1.0)
    opaque = np.sqrt(np.abs(strength))[..., None]
    colours: NDArray[np.float64] = _colours()(0.5 + np.sign(strength) / 2)[..., :3]
    blended: NDArray[np.float64] = pale * (1 - opaque) + colours * opaque
    return blended


def _inked(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Numbers as shades from white, the smallest, to blue, the largest: [height, width, 3]."""
    from matplotlib.colors import to_rgb

    spread = float(values.max() - values.min()) or 1.0
    share = ((values - values.min()) / spread)[..., None].astype(np.float64)
    shades: NDArray[np.float64] = (1 - share) + share * np.array(to_rgb(BLUE))
    return shades


def _colours() -> "Colormap":
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("for_and_against", [BLUE, "#ffffff", ORANGE])


def _place(
    axes: "Axes", tile: NDArray[Any], left: float, top: float, wide: float, tall: float
) -> None:
    extent = (left, left + wide, top + tall, top)
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(tile.clip(0, 1), extent=extent, aspect="auto", interpolation="nearest")
    # an image sets them to its own
    axes.set(xlim=limits[0], ylim=limits[1])


def _blank(width: float, height: float) -> "tuple[Any, list[Axes]]":
    """A figure with one panel over all of it, whose coordinates are inches from the top left."""
    figure, panels = make_canvas(1, (width, height))
    figure.subplots_adjust(0, 0, 1, 1)
    panels[0].set_axis_off()
    panels[0].set(xlim=(0, width), ylim=(height, 0))
    return figure, panels


def _colour_bar(
    figure: Any, place: tuple[float, float, float, float], size: tuple[float, float], way: str
) -> None:
    """What the colours mean; the strongest place of each row has the full colour."""
    from matplotlib.cm import ScalarMappable

    width, height = size
    left, bottom, wide, tall = place
    axes = figure.add_axes((left / width, bottom / height, wide / width, tall / height))
    bar = figure.colorbar(ScalarMappable(cmap=_colours()), cax=axes, orientation=way)
    bar.set_ticks([0, 1], labels=["against", "for"])
    bar.ax.tick_params(labelsize=7.5, length=0, colors=INK)
    bar.outline.set_visible(False)
