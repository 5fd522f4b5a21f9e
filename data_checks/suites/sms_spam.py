"""Checks of the text messages: a message, and whether it is spam."""

from data_checks.checks import Check, Strictness, columns, labels, row_count
from data_checks.texts import texts

LABELS = ("ham", "spam")
# A fifth of what was published: of less, 13 % spam are too few to learn from.
MINIMUM_ROWS = 1_000
MAXIMUM_ROWS = 100_000_000
# The longest that was published has 910 characters; more than that is no text message.
LONGEST = 2_000
# Messages are sent to many, word for word: 7 % of the published ones come again.
COPIES = 0.2


def build(strictness: Strictness) -> list[Check]:
    """The checks, on a table of `text` and `label`."""
    checks = [
        row_count(strictness, MINIMUM_ROWS, MAXIMUM_ROWS),
        *texts("text", strictness, longest=LONGEST, copies=COPIES),
        *labels("label", LABELS, strictness),
    ]
    return columns(["text", "label"], checks)
