"""Checks of the handwritten digits: images of 8 x 8 pixels from 0 to 16."""

from data_checks.checks import Check, Strictness, columns, images, labels, row_count
from data_checks.profile import STATISTICS

LABELS = tuple("0123456789")
# A fifth of what was published: less is a broken file, and too little to judge ten labels by.
MINIMUM_ROWS = 360
MAXIMUM_ROWS = 1_000_000


def build(strictness: Strictness) -> list[Check]:
    """The checks, on a table of `digit` and the statistics of `image`."""
    return columns(
        ["digit", *(f"image_{statistic}" for statistic in STATISTICS)],
        [
            row_count(strictness, MINIMUM_ROWS, MAXIMUM_ROWS),
            *labels("digit", LABELS, strictness),
            *images("image", largest=16),
        ],
    )
