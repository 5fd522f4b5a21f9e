"""Which rows of today another model was not trained on, by what is kept of how its rows were split.

A split's configuration alone does not tell: the same one puts rows on other sides once the columns
that identify a row, or the code, are others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import SplitConfig
from tasks.errors import DataError
from tasks.fingerprints import code_digest
from tasks.handoffs import Column
from tasks.splitting import TEST, VALIDATION, assign_sides, identity_columns

if TYPE_CHECKING:
    import pyarrow

CODE = ("tasks.splitting", "tasks.identities")
# of columns that were treated before they were stored, what they were made by counts as well
TREATING = ("tasks.masking", "tasks.treatments")
Description = Mapping[str, str | int | float | None]


def describe_split(
    table: pyarrow.Table,
    columns: tuple[Column, ...],
    config: SplitConfig,
    sides: np.ndarray,
    privacy_key: str = "",
) -> dict[str, str | int | float | None]:
    """All that has to be known to tell, in other data, which rows a model was trained on.

    Args:
        table: The rows.
        columns: The snapshot's columns.
        config: Strategy, shares and seed.
        sides: Of each row, from `assign_sides`.
        privacy_key: Id of the key that columns were hashed by.

    Returns:
        The configuration; `columns`, name, role, kind and treatment of those that decided, as JSON;
        `privacy_key`, if one of them was hashed; `code`,
        the digest of the code that assigned the sides; and for the strategy `time`
        `first_validation_time` and `first_test_time` as text, unless a published test set tests.
    """
    deciding = _deciding_columns(columns, config)
    by_time = config.strategy == "time" and all(column.role != "part" for column in deciding)
    times = (("first_validation_time", VALIDATION), ("first_test_time", TEST))
    return {
        **config.model_dump(mode="json"),
        "columns": json.dumps(
            [[column.name, column.role, column.kind, *_treatment(column)] for column in deciding]
        ),
        "code": _code(is_treated=any(map(_treatment, deciding))),
        **({"privacy_key": privacy_key} if _is_hashed(deciding) else {}),
        **{
            name: _first_time(table, deciding[0], sides == side) if by_time else None
            for name, side in times
        },
    }


def described_columns(
    split: Description, columns: tuple[Column, ...], privacy_key: str = ""
) -> tuple[Column, ...]:
    """The columns that decided a described split, in today's snapshot.

    Args:
        split: From `describe_split`, of another model.
        columns: Today's columns.
        privacy_key: Id of the key that they were hashed by.

    Raises:
        DataError: The split cannot be made again: by other code, or a column is gone, of another
            kind, treated otherwise, or hashed by another key.
    """
    described = json.loads(str(split.get("columns", "[]")))
    if split.get("code") != _code(
        is_treated=any(treatment for *_, treatment in map(_parts, described))
    ):
        raise DataError(
            "its rows were split by other code than today's (tasks/splitting.py and "
            "tasks/identities.py, or that of their treatment), so which of them it was trained on "
            "cannot be told"
        )
    today = {column.name: column for column in columns}
    found = []
    for name, role, kind, treatment in map(_parts, described):
        if name not in today or today[name].kind != kind:
            now = f"of kind {today[name].kind}" if name in today else "gone"
            raise DataError(
                f"its rows were split by the column '{name}' of kind {kind}, which is {now}, so "
                "which of them it was trained on cannot be told"
            )
        if treatment != _treatment(today[name]):
            before, now = map(_in_words, (treatment, _treatment(today[name])))
            raise DataError(
                f"its rows were split by the column '{name}', which was {before} and is {now}, so "
                "which of them it was trained on cannot be told"
            )
        found.append(today[name].model_copy(update={"role": role}))
    deciding = tuple(found)
    if _is_hashed(deciding) and split.get("privacy_key") != privacy_key:
        raise DataError(
            "its rows were split by identifiers that were hashed with another privacy key, so "
            "which of them it was trained on cannot be told"
        )
    return deciding


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


def _treatment(column: Column) -> list[str | float]:
    """What was done to a column before it was stored; empty where nothing was."""
    if column.protection == "none":
        return []
    figures = (column.range_width, column.prefix_length)
    return [column.protection, *(figure for figure in figures if figure is not None)]


def _is_hashed(columns: tuple[Column, ...]) -> bool:
    return any(column.protection == "hash" for column in columns)


def _in_words(treatment: list[Any]) -> str:
    return f"treated by {' '.join(map(str, treatment))}" if treatment else "as in the source"


def _parts(described: list[Any]) -> tuple[str, str, str, list[Any]]:
    """Name, role, kind and treatment of a described column."""
    name, role, kind, *treatment = described
    return name, role, kind, treatment


def _code(*, is_treated: bool) -> str:
    return code_digest((*CODE, *(TREATING if is_treated else ())))


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
