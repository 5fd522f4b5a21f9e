"""Which rows of today another model was not trained on, by what is kept of how its rows were split.

A split's configuration alone does not tell: the same one puts rows on other sides once the columns
that identify a row, or the code, are others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tasks.config import SplitConfig
from tasks.errors import DataError
from tasks.fingerprints import code_digest
from tasks.handoffs import Column
from tasks.splitting import TEST, VALIDATION, assign_sides, identity_columns

if TYPE_CHECKING:
    import pyarrow

CODE = ("tasks.splitting", "tasks.identities")
Description = Mapping[str, str | int | float | None]


def describe_split(
    table: pyarrow.Table, columns: tuple[Column, ...], config: SplitConfig, sides: np.ndarray
) -> dict[str, str | int | float | None]:
    """All that has to be known to tell, in other data, which rows a model was trained on.

    Args:
        table: The rows.
        columns: The snapshot's columns.
        config: Strategy, shares and seed.
        sides: Of each row, from `assign_sides`.

    Returns:
        The configuration; `columns`, name, role and kind of those that decided, as JSON; `code`,
        the digest of the code that assigned the sides; and for the strategy `time`
        `first_validation_time` and `first_test_time` as text, unless a published test set tests.
    """
    deciding = _deciding_columns(columns, config)
    by_time = config.strategy == "time" and all(column.role != "part" for column in deciding)
    times = (("first_validation_time", VALIDATION), ("first_test_time", TEST))
    return {
        **config.model_dump(mode="json"),
        "columns": json.dumps([[column.name, column.role, column.kind] for column in deciding]),
        "code": code_digest(CODE),
        **{
            name: _first_time(table, deciding[0], sides == side) if by_time else None
            for name, side in times
        },
    }


def described_columns(split: Description, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """The columns that decided a described split, in today's snapshot.

    Args:
        split: From `describe_split`, of another model.
        columns: Today's columns.

    Raises:
        DataError: The split cannot be made again: by other code, or a column is gone or of another
            kind.
    """
    if split.get("code") != code_digest(CODE):
        raise DataError(
            "its rows were split by other code than today's (tasks/splitting.py and "
            "tasks/identities.py), so which of them it was trained on cannot be told"
        )
    today = {column.name: column for column in columns}
    found = []
    for name, role, kind in json.loads(str(split["columns"])):
        if name not in today or today[name].kind != kind:
            now = f"of kind {today[name].kind}" if name in today else "gone"
            raise DataError(
                f"its rows were split by the column '{name}' of kind {kind}, which is {now}, so "
                "which of them it was trained on cannot be told"
            )
        found.append(today[name].model_copy(update={"role": role}))
    return tuple(found)


def rows_tested(
    table: pyarrow.Table, columns: tuple[Column, ...], split: Description
) -> np.ndarray:
    """Which rows another model has tested on or never seen: none of them trained or validated it.

    Args:
        table: Rows of today.
        columns: From `described_columns`.
        split: From `describe_split`, of the other model.

    Returns:
        bool [rows].
    """
    config = SplitConfig.model_validate(
        {name: split[name] for name in SplitConfig.model_fields if name in split}
    )
    if split["first_test_time"] is None:
        tested: np.ndarray = assign_sides(table, columns, config) == TEST
        return tested
    import pyarrow as pa
    import pyarrow.compute as pc

    times = _comparable_times(table, columns[0])
    boundary = pa.scalar(split["first_test_time"]).cast(times.type)
    newer: np.ndarray = pc.greater_equal(times, boundary).fill_null(False).to_numpy()
    return newer


def _deciding_columns(columns: tuple[Column, ...], config: SplitConfig) -> tuple[Column, ...]:
    """The columns that the sides follow from; for `time` its column is the first."""
    by_time = config.strategy == "time"
    own = () if by_time else identity_columns(columns)
    further = tuple(c for c in columns if c not in own and config.column == c.name)
    return (*further, *own, *(column for column in columns if column.role == "part"))


def _comparable_times(table: pyarrow.Table, column: Column) -> pyarrow.ChunkedArray:
    import pyarrow as pa

    values = table[column.name]
    return values if column.kind == "time" else values.cast(pa.float64(), safe=False)


def _first_time(table: pyarrow.Table, column: Column, chosen: np.ndarray) -> str | None:
    """The earliest time of the chosen rows, as text that a cast makes the same time again."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first = pc.min(_comparable_times(table, column).filter(pa.array(chosen)))
    text: str | None = first.cast(pa.string()).as_py()
    return text
