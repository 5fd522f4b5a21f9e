"""Checks of the film review sentences as texts that go on: English, and not the same again."""

from data_checks.checks import Check, Strictness, columns, row_count
from data_checks.texts import texts

# A tenth of what was published: less is a broken file.
MINIMUM_ROWS = 1_000
MAXIMUM_ROWS = 10_000_000
# About four times the longest that was published: a sentence, and no whole review.
LONGEST = 1_000


def build(strictness: Strictness) -> list[Check]:
    """The checks, on a table of `text`."""
    checks = [
        row_count(strictness, MINIMUM_ROWS, MAXIMUM_ROWS),
        *texts("text", strictness, longest=LONGEST),
    ]
    return columns(["text"], checks)
