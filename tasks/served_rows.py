"""Raw rows as a user would send them, and the numbers in what a served model gives for them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.outputs import VALUES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

ROWS_AT_ONCE = 8192


def raw_rows(
    snapshot: Path, columns: list[dict[str, Any]], rows: NDArray[np.int64]
) -> "Iterator[NDArray[np.uint8] | pd.DataFrame]":
    """The raw rows of a snapshot in batches, as a user would have them.

    Args:
        snapshot: The Parquet file.
        columns: The feature columns, as JSON of `tasks.handoffs.Column`.
        rows: Row numbers, int64 [rows], ascending.

    Yields:
        Images uint8 [rows, height, width, channels], or frames with numbers as float64.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names, first = [column["name"] for column in columns], 0
    with pq.ParquetFile(snapshot) as parquet:
        for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=names):
            ends = np.searchsorted(rows, [first, first + batch.num_rows])
            wanted = rows[slice(*ends)] - first
            first += batch.num_rows
            if len(wanted):
                yield _as_sent(batch.take(pa.array(wanted)), columns)


def values_of(frame: "pd.DataFrame", columns: list[str]) -> NDArray[np.float32]:
    """The numbers in a served frame.

    Args:
        frame: What a served model gave.
        columns: Those with numbers, or with a list of numbers in each row.

    Returns:
        [rows, columns]; of lists [rows, longest, columns], with NaN beyond the end of each.
    """
    if not len(frame) or not hasattr(frame[columns[0]].iloc[0], "__len__"):
        return frame[columns].to_numpy(np.float32)
    counts = frame[columns[0]].map(len).to_numpy()
    values = np.full((len(frame), counts.max(), len(columns)), np.nan, np.float32)
    there = np.arange(counts.max()) < counts[:, None]
    for place, name in enumerate(columns):
        values[there, place] = np.concatenate([np.asarray(row, float) for row in frame[name]])
    return values


def number_columns(names: list[str]) -> list[str]:
    """Those columns of a served frame that hold numbers, by the names of all."""
    probabilities = [name for name in names if name.startswith("probability_")]
    return probabilities or [VALUES if VALUES in names else "prediction"]


def without_continuing(model: Any) -> dict[str, int] | None:
    """Texts are judged by what they are given; what follows them takes long and is not asked."""
    asked = {param.name for param in model.metadata.get_params_schema() or ()}
    return {"max_new_tokens": 0} if "max_new_tokens" in asked else None


def _as_sent(
    batch: "pyarrow.RecordBatch", columns: list[dict[str, Any]]
) -> "NDArray[np.uint8] | pd.DataFrame":
    if columns[0]["kind"] == "image":
        pixels: NDArray[np.uint8] = batch.column(0).flatten().to_numpy()
        return pixels.reshape(batch.num_rows, *columns[0]["shape"])
    numeric = {column["name"]: np.float64 for column in columns if column["kind"] == "numeric"}
    frame: pd.DataFrame = batch.to_pandas().astype(numeric)
    return frame
