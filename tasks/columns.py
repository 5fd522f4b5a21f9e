"""Columns in Arrow: the type of each, and how values from any source become that type.

Numeric columns are float64 or int64, categories and texts strings, times timestamps in
microseconds, images fixed-size lists of uint8. What a column is for (role, kind, personal,
protection, shape, maximum) is in the metadata of its field, so a table explains itself.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.errors import SourceError
from tasks.handoffs import Column

if TYPE_CHECKING:
    import pyarrow

NAMES_SHOWN = 10


def arrow_type(column: Column) -> pyarrow.DataType:
    """The type that a column has in a snapshot."""
    import pyarrow as pa

    if column.kind == "image":
        return pa.list_(pa.uint8(), math.prod(column.shape or (0,)))
    if column.kind == "numeric":
        return pa.int64() if column.integer else pa.float64()
    return pa.timestamp("us") if column.kind == "time" else pa.string()


def arrow_schema(columns: tuple[Column, ...]) -> pyarrow.Schema:
    """The schema of a snapshot: types, and what each column is for as metadata of its field."""
    import pyarrow as pa

    fields = []
    for column in columns:
        said = column.model_dump(mode="json", exclude_none=True, exclude={"name", "integer"})
        metadata = {key: str(value).lower() for key, value in said.items() if key != "shape"}
        if column.protection == "none":
            del metadata["protection"]
        if column.shape:
            metadata["shape"] = ",".join(map(str, column.shape))
        fields.append(pa.field(column.name, arrow_type(column), metadata=metadata))
    return pa.schema(fields)


def as_pixels(rows: np.ndarray) -> pyarrow.FixedSizeListArray:
    """Images uint8 [rows, pixels] as fixed-size lists, without a copy."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def as_labels(numbers: np.ndarray) -> pyarrow.StringArray:
    """Whole numbers [rows] as strings."""
    import pyarrow as pa

    return pa.array(numbers).cast(pa.string())


def check_names(names: Sequence[str], columns: tuple[Column, ...], path: Path) -> None:
    """Compares the column names of a file with those of its dataset.

    Raises:
        SourceError: One is missing, extra or there twice.
    """
    expected = [column.name for column in columns]
    if names and len(expected) > 1 and not set(names) & set(expected):
        raise SourceError(
            # the cells are not quoted: they may be those of a person
            f"The first line of {path} names none of the dataset's columns; expected "
            f"{_listed(expected)}. Add the line with the names, or separate them as the dataset's "
            "file says."
        )
    missing = [name for name in expected if name not in names]
    extra = [name for name in names if name not in expected]
    twice = sorted({name for name in names if names.count(name) > 1})
    if missing:
        nearest = difflib.get_close_matches(missing[0], extra, n=1)
        hint = f" Is '{nearest[0]}' meant? Rename it." if nearest else ""
        label = next((column.name for column in columns if column.role == "label"), "")
        raise SourceError(
            f"The file {path} lacks {_listed(missing)}{', the label' * (label in missing)}; it has "
            f"{_listed(names)}.{hint or ' Add what is missing.'}"
        )
    if extra or twice:
        raise SourceError(
            f"The file {path} has {_listed(extra or twice)}, "
            f"{'which the dataset does not know' if extra else 'more than once'}; expected "
            f"{_listed(expected)}. Remove it from the file"
            f"{', or add it to the columns in tasks/datasets' if extra else ''}."
        )


def typed(table: pyarrow.Table, columns: tuple[Column, ...], path: Path) -> pyarrow.Table:
    """A table in the types of its columns, in their order; blanks and NaN become nulls.

    Args:
        table: Strings, as from CSV, or any types, as from Parquet.
        columns: Columns that the table has.
        path: Where it comes from, for messages.

    Raises:
        SourceError: A value that its column cannot hold.
    """
    import pyarrow as pa

    arrays = [_typed_column(table[column.name], column, path) for column in columns]
    return pa.Table.from_arrays(arrays, schema=arrow_schema(columns))


def _typed_column(values: pyarrow.ChunkedArray, column: Column, path: Path) -> pyarrow.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = arrow_type(column)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        values = values.cast(pa.string())
    if pa.types.is_string(values.type):
        trimmed = pc.utf8_trim_whitespace(values)
        kept = values if column.kind == "text" else trimmed
        values = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), kept)
    if column.kind == "numeric":
        values = _numbers(values, column, path)
    try:
        values = values.cast(wanted)
    except pa.ArrowException:
        # without its cause, whose text quotes the value, and a value may be personal
        raise _unfit(values, column, wanted, path) from None
    blanks = values.null_count
    if column.kind == "image" and any(
        chunk.flatten().null_count or blanks for chunk in values.chunks
    ):
        raise SourceError(
            f"The column '{column.name}' of {path} has blanks among its images. Remove those rows."
        )
    return values


def _numbers(values: pyarrow.ChunkedArray, column: Column, path: Path) -> pyarrow.ChunkedArray:
    """Finite float64, NaN as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        numbers = values.cast(pa.float64())
    except pa.ArrowException:
        raise _unfit(values, column, pa.float64(), path) from None
    numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    infinite = pc.is_inf(numbers)
    if pc.any(infinite).as_py():
        raise SourceError(
            f"The column '{column.name}' of {path} has an infinite number in row "
            f"{pc.index(infinite, True).as_py() + 1:,}; expected finite ones. Leave blank what is "
            "not known."
        )
    return numbers


def _unfit(values: pyarrow.ChunkedArray, column: Column, wanted: Any, path: Path) -> SourceError:
    """Names the first value that its column cannot hold; never a personal one."""
    import pyarrow as pa

    expected = {
        "numeric": "whole numbers" if column.integer else "numbers",
        "image": f"images of {column.shape} pixels from 0 to 255",
        "time": "times such as 2026-11-22 06:00:00",
    }.get(column.kind, "text")
    place = f"of the type {values.type}"
    for row, value in enumerate(values):
        try:
            value.cast(wanted)
        except pa.ArrowException:
            shown = "a value" if column.personal or column.kind == "image" else repr(value.as_py())
            place = f"with {shown[:60]} in row {row + 1:,}"
            break
    return SourceError(
        f"The column '{column.name}' of {path} has values {place}; expected {expected}. Mend the "
        "file; leave blank what is not known."
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name[:40]}'" for name in names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown or "no columns"


def class_titles(classes: Sequence[str], *, is_personal: bool) -> tuple[str, ...]:
    """The classes as they may be shown: by their places where the label is personal.

    Args:
        classes: The labels in the order of their indices.
        is_personal: Whether nobody is to see them.
    """
    if not is_personal:
        return tuple(classes)
    return tuple(f"class {number}" for number in range(1, len(classes) + 1))
