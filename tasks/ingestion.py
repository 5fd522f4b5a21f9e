"""From source files to a snapshot: one typed, read-only Parquet file, without what is protected.

What makes a typed snapshot, or any training on it, impossible is refused here; shares of blanks,
ranges, categories and balance are for the data checks.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.columns import check_names, typed
from tasks.config import IngestionConfig
from tasks.datasets import Dataset, get_dataset
from tasks.datasets.definition import NOTES
from tasks.errors import ConfigError
from tasks.formats import read_parquet
from tasks.handoffs import RunContext, Snapshot, Source
from tasks.keys import key_id
from tasks.privacy import hashing_key, require_fitting, treat, treated_columns
from tasks.selection import choose_labels, choose_rows, expected_labels, require_labels
from tasks.settings import load_settings
from tasks.snapshots import write_snapshot
from tasks.sources import require_unchanged
from tasks.stages import stage
from tasks.storage import Storage

if TYPE_CHECKING:
    import pyarrow

logger = logging.getLogger(__name__)


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
    if first.suffix == ".parquet" and first.is_file():
        return read_parquet(first, dataset.columns)
    table = dataset.read(files)
    check_names(table.column_names, dataset.columns, first)
    return typed(table, dataset.columns, first).replace_schema_metadata(table.schema.metadata)


def _notes(table: pyarrow.Table) -> tuple[str, ...]:
    """What was noticed as the source was read."""
    notes = tuple(json.loads((table.schema.metadata or {}).get(NOTES.encode(), b"[]")))
    for note in notes:
        logger.warning(note)
    return notes


def _require_same_key(source: Source, key: bytes | None) -> None:
    """Makes sure that rows are hashed by the key that the run's data are known by."""
    found = key_id(key, "privacy") if key else ""
    if found != source.privacy_key:
        raise ConfigError(
            f"The run began with the privacy key whose id is {source.privacy_key or 'none'}, and "
            f"the key here has {found or 'none'}. Set the same ROUNDHOUSE_PRIVACY_KEY on all "
            "machines, and run again."
        )


@stage(
    code=(
        "tasks.datasets",
        "tasks.columns",
        "tasks.formats",
        "tasks.image_decoding",
        "tasks.image_folders",
        "tasks.masking",
        "tasks.privacy",
        "tasks.snapshots",
        "tasks.identities",
        "tasks.selection",
        "tasks.sources",
        "tasks.splitting",
        "tasks.treatments",
    )
)
def ingest_data(context: RunContext, source: Source, config: IngestionConfig) -> Snapshot:
    """Reads the source files into one typed Parquet file in the storage."""
    dataset = get_dataset(config.dataset)
    if dataset.configured:
        dataset = dataset.configured(config)
    require_fitting(dataset)
    table = read_source(source, dataset)
    notes = _notes(table)
    table = choose_labels(table.replace_schema_metadata(None), dataset, config.labels)
    labels = expected_labels(table, dataset, config.labels)
    table = choose_rows(table, dataset.columns, config.rows)
    require_labels(table, dataset, labels)
    key = hashing_key(dataset, load_settings())
    _require_same_key(source, key)
    table = treat(table, dataset.columns, key)
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
        columns=treated_columns(dataset.columns),
        source_digest=source.digest,
        trial=config.rows is not None,
        labels=labels,
        warnings=notes,
        privacy_key=source.privacy_key,
    )
