"""From source files to a snapshot: one typed, read-only Parquet file.

What makes a typed snapshot, or any training on it, impossible is refused here; shares of blanks,
ranges, categories and balance are for the data checks.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.columns import check_names, typed
from tasks.config import IngestionConfig
from tasks.datasets import Dataset, get_dataset
from tasks.errors import DataError
from tasks.formats import read_parquet
from tasks.handoffs import Column, RunContext, Snapshot, Source
from tasks.identities import row_identities
from tasks.snapshots import write_snapshot
from tasks.sources import require_unchanged
from tasks.splitting import identity_columns
from tasks.stages import stage
from tasks.storage import Storage

if TYPE_CHECKING:
    import pyarrow

logger = logging.getLogger(__name__)
CLASSES_AT_LEAST = 2


def read_source(source: Source, dataset: Dataset) -> pyarrow.Table:
    """The source files as one typed table.

    Raises:
        SourceError: They are damaged, have other columns, hold values that do not fit, or were
            changed since they were found.
    """
    try:
        return _read_files(source, dataset)
    finally:
        # afterwards: it is the cause of whatever was wrong, and nothing can slip in between
        require_unchanged(source)


def _read_files(source: Source, dataset: Dataset) -> pyarrow.Table:
    files = {file.name: Path(file.path) for file in source.files}
    first = next(iter(files.values()))
    if first.suffix == ".parquet":
        return read_parquet(first, dataset.columns)
    table = dataset.read(files)
    check_names(table.column_names, dataset.columns, first)
    return typed(table, dataset.columns, first)


def choose_rows(
    table: pyarrow.Table, columns: tuple[Column, ...], rows: int | None
) -> pyarrow.Table:
    """Only so many rows, in their order; as the data grows, mostly the same ones.

    Args:
        table: All rows.
        columns: The dataset's columns.
        rows: How many to keep; None keeps all.
    """
    if rows is None or rows >= table.num_rows:
        return table
    # another purpose than the split's, else the rows kept would all be on one side
    identities = row_identities(table, identity_columns(columns), purpose="rows")
    kept = np.sort(np.argsort(identities, kind="stable")[:rows])
    return table.take(kept).combine_chunks()


def require_labels(table: pyarrow.Table, dataset: Dataset) -> None:
    """Refuses rows from which nothing can be learnt.

    Raises:
        DataError: All labels are blank, all of one class, or there are fewer rows than classes.
    """
    import pyarrow.compute as pc

    name = dataset.label.name
    labels = pc.unique(table[name].drop_null())
    if len(labels) == 0:
        raise DataError(
            f"The label '{name}' is blank in all {table.num_rows:,} rows; expected a value in "
            "each. Fill it in."
        )
    if len(labels) < CLASSES_AT_LEAST:
        raise DataError(
            f"The label '{name}' is {labels[0].as_py()!r} in every row; expected at least "
            f"{CLASSES_AT_LEAST} different ones. Add rows with other labels."
        )
    if table.num_rows < len(dataset.classes):
        raise DataError(
            f"There are {table.num_rows:,} rows; {dataset.title} has {len(dataset.classes)} labels "
            "and needs several rows of each. Add rows, or raise ingestion.rows."
        )


@stage(
    code=(
        "tasks.datasets",
        "tasks.columns",
        "tasks.formats",
        "tasks.snapshots",
        "tasks.identities",
        "tasks.sources",
        "tasks.splitting",
    )
)
def ingest_data(context: RunContext, source: Source, config: IngestionConfig) -> Snapshot:
    """Reads the source files into one typed Parquet file in the storage."""
    dataset = get_dataset(config.dataset)
    table = choose_rows(read_source(source, dataset), dataset.columns, config.rows)
    require_labels(table, dataset)
    storage = Storage(context.storage_uri)
    with storage.workspace() as folder:
        path = folder / "snapshot.parquet"
        write_snapshot(table, path)
        stored = storage.put_file(path)
    logger.info("%s rows of %s from %s", f"{table.num_rows:,}", dataset.title, source.location)
    return Snapshot(
        dataset=dataset.name,
        problem=dataset.problem,
        file=stored,
        rows=table.num_rows,
        columns=dataset.columns,
        source_digest=source.digest,
        trial=config.rows is not None,
    )
