"""The process that loads registered models: questions as JSON lines in, answers as JSON lines out.

It is started as `python -m tasks.prover_process` by `tasks.prover`, imports what it will need at
once, and ends when its input closes.
"""

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.outputs import VALUES, joined

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

ROWS_AT_ONCE = 8192
logger = logging.getLogger(__name__)


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """What the process does with a question: loads the model, predicts, writes the predictions.

    Args:
        question: As `predict_registered` puts it.
    """
    import mlflow

    mlflow.set_tracking_uri(question["mlflow_uri"])
    mlflow.set_registry_uri(question["mlflow_uri"])
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        # a copy of its own: loading writes files beside the model
        model = mlflow.pyfunc.load_model(question["uri"], suppress_warnings=True, dst_path=folder)
        loaded = time.perf_counter()
        rows = np.load(question["rows"], allow_pickle=False)
        raw = raw_rows(Path(question["snapshot"]), question["columns"], rows)
        frames = [model.predict(batch, _without_continuing(model)) for batch in raw]
    columns = _value_columns(list(frames[0]))
    values = joined([values_of(frame, columns) for frame in frames])
    np.save(question["output"], values, allow_pickle=False)
    return {
        "columns": columns,
        "rows": len(rows),
        "load_seconds": loaded - started,
        "predict_seconds": time.perf_counter() - loaded,
    }


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


def serve() -> None:
    """Answers questions until there are no more."""
    # the training it runs beside has the right of way
    os.nice(10)
    answers = os.fdopen(os.dup(1), "wb")
    # whatever a library prints must not get between the answers
    os.dup2(2, 1)
    _import_ahead()
    for line in sys.stdin.buffer:
        try:
            reply = answer(json.loads(line))
        except Exception as error:
            logger.exception("No prediction")
            reply = {"error": explain(error)}
        answers.write(json.dumps(reply).encode() + b"\n")
        answers.flush()


def explain(error: Exception) -> str:
    """An error in one line, without the rows that MLflow quotes when a signature refuses them."""
    text = str(error)
    if text.startswith("Failed to enforce schema of data"):
        text = text.rpartition("Error: ")[2]
    return f"{type(error).__name__}: {' '.join(text.split())[:500]}".rstrip(".")


def _value_columns(names: list[str]) -> list[str]:
    probabilities = [name for name in names if name.startswith("probability_")]
    return probabilities or [VALUES if VALUES in names else "prediction"]


def _without_continuing(model: Any) -> dict[str, int] | None:
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


def _import_ahead() -> None:
    """Imports what an answer will need, while there is nothing to do yet."""
    import keras
    import mlflow.pyfunc
    import mlflow.pyfunc.loaders.code_model
    import pyarrow.parquet  # noqa: F401

    # the backend sets itself up at its first operation
    keras.ops.convert_to_numpy(keras.ops.zeros(1))
    if "://" in (uri := mlflow.get_tracking_uri()) and not uri.startswith("http"):
        import mlflow.store.model_registry.sqlalchemy_store
        import mlflow.store.tracking.sqlalchemy_store


if __name__ == "__main__":
    serve()
