"""Checks of the noisy corners: two coordinates near 0 or 1, and a label of two."""

from data_checks.checks import (
    Check,
    Strictness,
    blanks,
    columns,
    labels,
    numbers,
    row_count,
    value_range,
)

LABELS = ("no", "yes")
COORDINATES = ("left", "right")
MINIMUM_ROWS = 100
MAXIMUM_ROWS = 1_000_000


def build(strictness: Strictness) -> list[Check]:
    """The checks, on a table of the three columns."""
    checks = [row_count(strictness, MINIMUM_ROWS, MAXIMUM_ROWS)]
    for name in COORDINATES:
        checks += [numbers(name), blanks(name, strictness.maximum_missing)]
        # ten standard deviations of the noise beyond the corners
        checks.append(value_range(name, -1, 2))
    checks += labels("either", LABELS, strictness)
    return columns([*COORDINATES, "either"], checks)
