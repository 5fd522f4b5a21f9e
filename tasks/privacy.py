"""What a dataset's personal columns become before anything is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tasks.datasets import Dataset
from tasks.errors import ConfigError
from tasks.handoffs import Column
from tasks.keys import key_id, privacy_key
from tasks.masking import mask
from tasks.settings import Settings
from tasks.treatments import keyed_hash, lower_edges

if TYPE_CHECKING:
    import pyarrow

# what can be done to a column of each kind
FITTING = {
    "numeric": ("drop", "hash", "generalise"),
    "category": ("drop", "hash", "generalise"),
    "text": ("drop", "hash", "mask"),
    "time": ("drop", "hash", "generalise"),
    "image": ("drop",),
}


def treated_columns(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """The columns of a snapshot whose source has these: what is hashed is a category.

    Args:
        columns: A dataset's.
    """
    hashed: dict[str, Any] = {"kind": "category", "integer": False}
    return tuple(
        column.model_copy(update=hashed) if column.protection == "hash" else column
        for column in columns
        if column.protection != "drop"
    )


def hashing_key(dataset: Dataset, settings: Settings) -> bytes | None:
    """The key by which a dataset's columns are hashed; None where none is.

    Raises:
        ConfigError: It is missing where several machines share a storage, or is no key.
    """
    if all(column.protection != "hash" for column in dataset.columns):
        return None
    return privacy_key(settings.home_folder, shared="://" in settings.storage_uri)


def hashing_key_id(dataset: Dataset, settings: Settings) -> str:
    """Tells by which key a dataset's columns are hashed; empty where none is."""
    key = hashing_key(dataset, settings)
    return key_id(key, "privacy") if key else ""


def require_fitting(dataset: Dataset) -> None:
    """Refuses protections that cannot be done to their columns.

    Raises:
        ConfigError: One does not fit the column's kind or role, or lacks what it needs to know.
    """
    for column in dataset.columns:
        if reason := _obstacle(column, dataset):
            raise ConfigError(
                f"The column '{column.name}' has protection='{column.protection}', {reason}. Mend "
                f"it in tasks/datasets/{dataset.name}.py."
            )


def treat(table: pyarrow.Table, columns: tuple[Column, ...], key: bytes | None) -> pyarrow.Table:
    """The table as it may be stored; blanks stay blank.

    Args:
        table: The typed table of the source.
        columns: The dataset's, in order.
        key: By which values are hashed.

    Returns:
        The columns of `treated_columns`.
    """
    import pyarrow as pa

    from tasks.columns import arrow_schema

    if all(column.protection == "none" for column in columns):
        return table
    arrays = [
        _treated(table[column.name], column, key)
        for column in columns
        if column.protection != "drop"
    ]
    schema = arrow_schema(treated_columns(columns))
    return pa.Table.from_arrays(arrays, schema=schema).combine_chunks()


def _treated(
    values: pyarrow.ChunkedArray, column: Column, key: bytes | None
) -> pyarrow.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    match column.protection:
        case "hash":
            secret = key or b""
            return _each_text(values.cast(pa.string()), lambda text: keyed_hash(text, secret))
        case "mask":
            return _each_text(values, mask)
        case "generalise" if column.kind == "time":
            return pc.floor_temporal(values, unit="month")
        case "generalise" if column.kind == "category":
            return pc.utf8_slice_codeunits(values, 0, column.prefix_length)
        case "generalise":
            numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
            edges = pa.array(lower_edges(numbers, column.range_width or 1.0), from_pandas=True)
            return pa.chunked_array([edges.cast(values.type)])
    return values


def _each_text(values: pyarrow.ChunkedArray, change: Callable[[str], str]) -> pyarrow.ChunkedArray:
    """A column with each distinct text changed once."""
    import pyarrow as pa

    coded = values.combine_chunks().dictionary_encode()
    changed = pa.array(map(change, coded.dictionary.to_pylist()), pa.string())
    return pa.chunked_array([changed.take(coded.indices)])


def _obstacle(column: Column, dataset: Dataset) -> str:
    """Why a protection cannot be; empty where it can."""
    protection, kind = column.protection, column.kind
    needs = {"numeric": "range_width", "category": "prefix_length"}.get(kind, "")
    given = {name for name in ("range_width", "prefix_length") if getattr(column, name) is not None}
    needed = {needs} - {""} if protection == "generalise" else set()
    fitting = ("none", *FITTING[kind])
    if column.role in {"label", "part"} and protection != "none":
        return f"and the role '{column.role}', which is needed as it is; expected 'none'"
    if protection not in fitting:
        return f"which does not fit its kind '{kind}'; expected one of {', '.join(fitting)}"
    if protection == "hash" and column.role == "feature" and kind != "category":
        return (
            f"which for a feature of kind '{kind}' depends on how a value is written, so a served "
            "one would not be known; expected the kind 'category'"
        )
    if protection == "mask" and dataset.problem == "token_classification":
        return "which would change the words that the tags belong to; expected none or drop"
    if missing := needed - given:
        return f"which needs {missing.pop()} for its kind '{kind}'"
    if extra := given - needed:
        return f"which does not use {extra.pop()} for its kind '{kind}'; leave that out"
    if column.integer and (column.range_width or 1) % 1:
        return f"and range_width={column.range_width:g}; expected a whole number, as its values are"
    return ""
