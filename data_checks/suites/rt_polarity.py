"""Checks of the film review sentences: a sentence in English, in praise or not."""

from data_checks.checks import Check, Strictness, columns, labels, row_count
from data_checks.texts import texts

LABELS = ("negative", "positive")
# A tenth of what was published: less is a broken file.
MINIMUM_ROWS = 1_000
MAXIMUM_ROWS = 10_000_000
# About four times the longest that was published: a sentence, and no whole review.
LONGEST = 1_000


def build(strictness: Strictness) -> list[Check]:
    """The checks, on a table of `text` and `sentiment`."""
    checks = [
        row_count(strictness, MINIMUM_ROWS, MAXIMUM_ROWS),
        *texts("text", strictness, longest=LONGEST),
        *labels("sentiment", LABELS, strictness),
    ]
    return columns(["text", "sentiment"], checks)
