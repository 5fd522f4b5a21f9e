"""Rows that no model may take: each of them breaks what a package says it takes, in one place."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

COLUMNS_AT_MOST = 50
WRONG_TYPES = {"numeric": ("a text for a number", "not a number")}
OTHERWISE = ("a number for a text", 1.5)


@dataclass(frozen=True)
class BrokenRow:
    """A row that has to be refused.

    Args:
        fault: What is wrong with it, in words.
        rows: The row, a frame or an image [1, height, width, channels].
        named: What a clear refusal names: the column, or the shape or type of pixels asked for.
    """

    fault: str
    rows: Any
    named: str


def broken_rows(row: Any, columns: list[dict[str, Any]]) -> Iterator[BrokenRow]:
    """Ways to break a row that is right.

    Args:
        row: The row, a frame or an image uint8 [1, height, width, channels].
        columns: The feature columns, as JSON of `tasks.handoffs.Column`.

    Yields:
        Of a table each column missing and each of another type, the first fifty; of images another
        width and another type of pixels.
    """
    if columns[0]["kind"] == "image":
        shape = (-1, *columns[0]["shape"])
        yield BrokenRow("an image of another width", np.concatenate([row, row], axis=2), str(shape))
        yield BrokenRow("an image of fractions", row / np.float64(255), "uint8")
        return
    for column in columns[:COLUMNS_AT_MOST]:
        name = column["name"]
        yield BrokenRow("a column missing", row.drop(columns=name), name)
        fault, value = WRONG_TYPES.get(column["kind"], OTHERWISE)
        yield BrokenRow(fault, row.assign(**{name: [value]}), name)
