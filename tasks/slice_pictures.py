"""The picture of slices: a bar for each with its interval and its number of rows, as PNG bytes."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from tasks.appraisal import Slice
from tasks.canvas import BLUE, GREY, INK, as_png, make_canvas, set_labels, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# of one picture; what is more goes on in another
BARS = 60
INCHES_PER_BAR = 0.24
LONGEST = 40
# inches beside the bars for the numbers of rows
COUNTS = 1.3


def draw_slices(
    metric: str, slices: Sequence[Slice], overall: float | None, *, least_rows: int
) -> dict[str, bytes]:
    """Bars of a metric, column below column; the same slices give the same bytes.

    Args:
        metric: Name of the metric.
        slices: Column by column; where the metric is undefined there is no bar.
        overall: The metric on all test rows, if it is defined.
        least_rows: Slices with fewer rows, which no rule judges, are grey.

    Returns:
        PNGs by file name: `slices.png`, and where there are many slices `slices_2.png` and so on.
    """
    drawn = {}
    for number, page in enumerate(_pages(slices), start=1):
        name = "slices.png" if number == 1 else f"slices_{number}.png"
        drawn[name] = _page(metric, page, overall, least_rows)
    return drawn


def _pages(slices: Sequence[Slice]) -> Iterator[list[list[Slice]]]:
    """The columns, as many as there is room for on each page."""
    page: list[list[Slice]] = []
    for _, found in groupby(slices, key=lambda part: part.column):
        column = list(found)
        if page and sum(map(len, page)) + len(column) > BARS:
            yield page
            page = []
        page.append(column)
    if page:
        yield page


def _page(
    metric: str, columns: Sequence[Sequence[Slice]], overall: float | None, least_rows: int
) -> bytes:
    # a line for the name of each column, and one for each of its slices
    lines = sum(1 + len(column) for column in columns)
    names = [shorten(part.value, LONGEST) for column in columns for part in column]
    heads = [shorten(column[0].column, LONGEST) for column in columns]
    margin = 0.4 + 0.075 * max(map(len, names + heads))
    height = 1.0 + INCHES_PER_BAR * lines
    figure, (axes,) = make_canvas(1, (margin + 6.2, height), left=margin)
    figure.subplots_adjust(right=1 - COUNTS / (margin + 6.2))
    line, ticks = 0, {}
    for head, column in zip(heads, columns, strict=True):
        axes.text(
            -0.02, line, head, transform=axes.get_yaxis_transform(), ha="right", va="center",
            fontsize=8, color=INK, weight="bold",
        )  # fmt: skip
        for part in column:
            line += 1
            ticks[line] = shorten(part.value, LONGEST)
            _bar(axes, line, part, metric, is_judged=part.rows >= least_rows)
        line += 1
    if overall is not None:
        axes.axvline(overall, color=INK, lw=1, ls="--")
        title = f"{_worded(metric)} by slice; all test rows {overall:.3f}"
    else:
        title = f"{_worded(metric)} by slice"
    set_labels(axes, title, _worded(metric), "")
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(lines - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    return as_png(figure)


def _bar(axes: "Axes", line: int, part: Slice, metric: str, *, is_judged: bool) -> None:
    value = part.metrics.get(metric)
    if value is not None:
        axes.barh(line, value, height=0.72, color=BLUE if is_judged else GREY, alpha=0.75)
    if part.low is not None and part.high is not None:
        axes.plot([part.low, part.high], [line, line], color=INK, lw=1.2, marker="|", ms=5)
    told = f"{part.rows:,} rows" if value is not None else f"{part.rows:,} rows, undefined"
    axes.annotate(
        told, (1, line), xycoords=("axes fraction", "data"), xytext=(6, 0),
        textcoords="offset points", va="center", fontsize=8, color=INK,
    )  # fmt: skip


def _worded(metric: str) -> str:
    return metric.replace("_", " ")
