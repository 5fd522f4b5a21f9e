"""Rows that are not independent of each other: those of one group, or of one day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ConfigError
from tasks.snapshots import read_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow

    from tasks.config import PipelineConfig
    from tasks.handoffs import Column, PreparedData
    from tasks.storage import Storage

NONE = "none"


def require_column(config: PipelineConfig, columns: Iterable[Column]) -> None:
    """Makes sure that the clusters' column is one of the dataset's.

    Raises:
        ConfigError: It is not.
    """
    names = [column.name for column in columns]
    if config.gate.clusters not in (None, NONE, *names):
        raise ConfigError(
            f"gate.clusters is {config.gate.clusters!r}; expected '{NONE}' or a column of "
            f"{config.ingestion.dataset}: {', '.join(names)}."
        )


def cluster_rows(
    storage: Storage, prepared: PreparedData, rows: NDArray[np.int64], named: str | None
) -> NDArray[np.int64] | None:
    """Which cluster each row is in.

    Args:
        storage: Holds the snapshot.
        prepared: Gives the snapshot, and the split by which clusters go where none are named.
        rows: Row numbers in the snapshot, [rows].
        named: As `gate.clusters`.

    Returns:
        Numbers from 0, [rows]; None where each row stands alone.
    """
    by_split = prepared.split.get("strategy") in {"group", "time"}
    name = named or (prepared.split.get("column") if by_split else None)
    column = next((c for c in prepared.snapshot.columns if c.name == name), None)
    if column is None or name == NONE:
        return None
    # of numbers that say when, each is a moment of its own
    if not named and prepared.split["strategy"] == "time" and column.kind != "time":
        return None
    values = read_snapshot(storage, prepared.snapshot, [column.name]).take(rows)[column.name]
    codes = _codes(_days(values) if column.kind == "time" else values)
    return None if codes.max(initial=0) + 1 == len(rows) else codes


def _days(times: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    import pyarrow.compute as pc

    return pc.floor_temporal(times, unit="day")


def _codes(values: pyarrow.ChunkedArray) -> NDArray[np.int64]:
    """A number for each different value; blanks are one as well."""
    encoded: Any = values.combine_chunks().dictionary_encode(null_encoding="encode")
    codes: NDArray[np.int64] = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes
