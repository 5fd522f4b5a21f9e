"""Checks of the hourly bike rentals: an hour each, calendar, weather, and a count that adds up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data_checks.checks import (
    Check,
    Strictness,
    blanks,
    categories,
    columns,
    failing_rows,
    numbers,
    row_count,
    text,
    unique,
    value_range,
)

if TYPE_CHECKING:
    import pandas as pd


def _numbered(first: int, last: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(first, last + 1))


CATEGORIES = {
    "season": _numbered(1, 4),
    "mnth": _numbered(1, 12),
    "hr": _numbered(0, 23),
    "holiday": _numbered(0, 1),
    "weekday": _numbered(0, 6),
    "workingday": _numbered(0, 1),
    "weathersit": _numbered(1, 4),
}
# Years since 2011; temperatures, humidity and wind as shares of their publisher's maxima.
RANGES = {
    "yr": (0, 100),
    "temp": (-0.5, 1.5),
    "atemp": (-0.5, 1.5),
    "hum": (0, 1),
    "windspeed": (0, 1.5),
}
# Of a fleet of thousands; the most in an hour was 977.
COUNTS = {"casual": (0, 20_000), "registered": (0, 20_000)}
RENTED = ("casual", "registered", "cnt")
# Four weeks: fewer hold no season that a model could be measured against.
MINIMUM_ROWS = 672
MAXIMUM_ROWS = 10_000_000


def build(strictness: Strictness) -> list[Check]:
    """The checks, on a table of the 17 columns of the snapshot."""
    checks = [
        row_count(strictness, MINIMUM_ROWS, MAXIMUM_ROWS),
        blanks("time", 0),
        unique("time"),
        numbers("instant"),
    ]
    for name, values in CATEGORIES.items():
        checks += [
            text(name),
            blanks(name, strictness.maximum_missing),
            categories(name, values),
        ]
    for name, (smallest, largest) in {**RANGES, **COUNTS}.items():
        checks += [
            numbers(name),
            blanks(name, strictness.maximum_missing),
            value_range(name, smallest, largest),
        ]
    checks += [
        numbers("cnt"),
        blanks("cnt", 0, tolerance=strictness.maximum_missing),
        value_range("cnt", 0, 40_000),
        _counts_agree(),
    ]
    return columns(["time", "instant", *CATEGORIES, *RANGES, *RENTED], checks)


def counts_gap(frame: pd.DataFrame) -> pd.Series:
    """How far `cnt` is from the sum of casual and registered users."""
    return (frame["cnt"] - frame["casual"] - frame["registered"]).abs()


def _counts_agree() -> Check:
    import great_expectations.expectations as gxe

    expectation = gxe.ExpectColumnValuesToBeBetween(column="counts_gap", max_value=0, mostly=0.99)
    return Check(
        "agreement/cnt",
        RENTED,
        "a count that is the sum of casual and registered, in 99 % of the rows",
        expectation,
        failing_rows("have another"),
        severity="warning",
        derive=counts_gap,
    )
