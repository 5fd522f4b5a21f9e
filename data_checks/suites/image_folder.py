"""Checks of a folder of images: the labels are those that it has folders for."""

from data_checks.checks import (
    Check,
    Strictness,
    blanks,
    columns,
    images,
    labels,
    row_count,
    text,
    unique,
)
from data_checks.profile import STATISTICS

MINIMUM_ROWS = 20
MAXIMUM_ROWS = 10_000_000


def build(strictness: Strictness) -> list[Check]:
    """The checks, on a table of `label`, `file` and the statistics of `image`."""
    return columns(
        ["label", "file", *(f"image_{statistic}" for statistic in STATISTICS)],
        [
            row_count(strictness, MINIMUM_ROWS, MAXIMUM_ROWS),
            *labels("label", (), strictness),
            text("file"),
            blanks("file", 0),
            unique("file"),
            *images("image", largest=255),
        ],
    )
