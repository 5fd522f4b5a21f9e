"""Rows of a snapshot as a person reads them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.handoffs import Snapshot
from tasks.snapshots import read_snapshot
from tasks.storage import Storage

LONGEST = 24


def raw_values(
    storage: Storage, snapshot: Snapshot, rows: NDArray[np.int64]
) -> list[dict[str, str]]:
    """What the feature columns of a table hold in some rows, as short texts.

    Values of personal columns are left out.

    Args:
        storage: Holds the snapshot.
        snapshot: The snapshot.
        rows: Row numbers, int64 [rows].
    """
    names = [column.name for column in snapshot.features if not column.personal]
    table = read_snapshot(storage, snapshot, names).select(names).take(rows)
    return [
        {name: shown_value(value) for name, value in row.items()} for row in table.to_pylist()
    ] or [{} for _ in rows]


def shown_value(value: Any) -> str:
    """A value as a short text; a blank is called one."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "blank"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
