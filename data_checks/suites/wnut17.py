"""Checks of the WNUT 2017 texts: a well-formed tag for each word, in a training and a test part."""

from data_checks.checks import (
    Check,
    Strictness,
    blanks,
    categories,
    columns,
    row_count,
)
from data_checks.tags import word_tags
from data_checks.texts import texts

TYPES = ("corporation", "creative-work", "group", "location", "person", "product")
PARTS = ("train", "test")
# A tenth of what was published: less is a broken file.
MINIMUM_ROWS = 500
MAXIMUM_ROWS = 10_000_000
# Some four times the longest that was published.
LONGEST = 2_000


def build(strictness: Strictness) -> list[Check]:
    """The checks, on a table of `text`, `tags` and `part`."""
    checks = [
        row_count(strictness, MINIMUM_ROWS, MAXIMUM_ROWS),
        *texts("text", strictness, longest=LONGEST),
        *word_tags("text", "tags", TYPES, strictness),
        blanks("part", 0),
        categories("part", PARTS, tolerance=0),
    ]
    return columns(["text", "tags", "part"], checks)
