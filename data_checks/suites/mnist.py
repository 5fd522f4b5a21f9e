"""Checks of MNIST: images of 28 x 28 pixels from 0 to 255, in a training and a test part."""

from data_checks.checks import (
    Check,
    Strictness,
    blanks,
    categories,
    columns,
    images,
    labels,
    row_count,
)
from data_checks.profile import STATISTICS

LABELS = tuple("0123456789")
PARTS = ("train", "test")
# A tenth of what was published: less is a broken file.
MINIMUM_ROWS = 7_000
MAXIMUM_ROWS = 10_000_000


def build(strictness: Strictness) -> list[Check]:
    """The checks, on a table of `digit`, `part` and the statistics of `image`."""
    return columns(
        ["digit", "part", *(f"image_{statistic}" for statistic in STATISTICS)],
        [
            row_count(strictness, MINIMUM_ROWS, MAXIMUM_ROWS),
            *labels("digit", LABELS, strictness),
            blanks("part", 0),
            categories("part", PARTS, tolerance=0),
            *images("image", largest=255),
        ],
    )
