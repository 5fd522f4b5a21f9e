"""Snapshots: typed tables as read-only Parquet files, and their images as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.columns import as_pixels
from tasks.errors import SourceError, StorageError
from tasks.handoffs import Column, Snapshot
from tasks.storage import Storage, file_sha256

if TYPE_CHECKING:
    import pyarrow

ROWS_PER_GROUP = 1 << 20
# Pixels are 32 bits wide while they are encoded: 16 MiB at a time, about 5,000 MNIST rows.
PIXELS_PER_GROUP = 1 << 22
IMAGES_PER_BATCH = 4096


def write_snapshot(table: pyarrow.Table, path: Path) -> None:
    """Writes a typed table as Parquet; the same table gives the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    widths = {field.name: field.type.list_size for field in table.schema
              if pa.types.is_fixed_size_list(field.type)}  # fmt: skip
    plain = [name for name in table.column_names if name not in widths]
    rows = PIXELS_PER_GROUP // max(widths.values()) if widths else ROWS_PER_GROUP
    pq.write_table(
        table,
        path,
        compression="zstd",
        row_group_size=max(1, rows),
        use_dictionary=plain or False,
        # MNIST: a quarter of the writing time and fewer bytes than with a dictionary
        column_encoding={f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in widths} or None,
    )


def read_snapshot(
    storage: Storage, snapshot: Snapshot, columns: Sequence[str] | None = None
) -> pyarrow.Table:
    """The table of a snapshot, or only some of its columns.

    Raises:
        StorageError: The file is gone, cut short, or not what was stored.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = storage.path(snapshot.file)
    mend = "Delete it and run the pipeline again with --force."
    if file_sha256(path) != snapshot.file.sha256:
        raise StorageError(
            f"The snapshot {snapshot.file.uri} was changed after it was written; expected sha256 "
            f"{snapshot.file.sha256}. {mend}"
        )
    try:
        with path.open("rb") as stream:
            return _read(pq.ParquetFile(stream), columns)
    except pa.ArrowException as error:
        raise StorageError(
            f"The snapshot {snapshot.file.uri} is not a Parquet file that can be read. {mend}"
        ) from error


def images(table: pyarrow.Table, column: Column) -> np.ndarray:
    """The images of a column, uint8 [rows, height, width, channels].

    No copy is made where the column is one chunk, as `read_snapshot` gives it.
    """
    if column.shape is None:
        raise SourceError(f"The column {column.name} is not an image; it has no shape.")
    chunks = [chunk.flatten().to_numpy() for chunk in table[column.name].chunks]
    flat = chunks[0] if len(chunks) == 1 else np.concatenate([*chunks, np.empty(0, np.uint8)])
    return flat.reshape(table.num_rows, *column.shape)


def texts_of(storage: Storage, snapshot: Snapshot, rows: np.ndarray) -> list[str]:
    """The raw texts of some rows of a snapshot whose one feature is a text; blanks are empty.

    Args:
        storage: Where the snapshot is.
        snapshot: The snapshot.
        rows: Row numbers, int64 [rows].
    """
    (column,) = snapshot.features
    values = read_snapshot(storage, snapshot, [column.name])[column.name]
    return [text or "" for text in values.take(rows).to_pylist()]


def _read(file: Any, columns: Sequence[str] | None) -> pyarrow.Table:
    """The columns of an open Parquet file; images batch by batch into one array, to save memory."""
    import pyarrow as pa

    schema = file.schema_arrow
    names = [name for name in schema.names if columns is None or name in columns]
    pixels = {
        name: np.empty((file.metadata.num_rows, schema.field(name).type.list_size), np.uint8)
        for name in names
        if pa.types.is_fixed_size_list(schema.field(name).type)
    }
    start = 0
    for batch in file.iter_batches(IMAGES_PER_BATCH, columns=list(pixels)) if pixels else ():
        for name, filled in pixels.items():
            rows = batch[name].flatten().to_numpy().reshape(batch.num_rows, -1)
            filled[start : start + batch.num_rows] = rows
        start += batch.num_rows
    plain = file.read(columns=[name for name in names if name not in pixels])
    arrays = [as_pixels(pixels[name]) if name in pixels else plain[name] for name in names]
    return pa.table(arrays, schema=pa.schema([schema.field(name) for name in names]))
