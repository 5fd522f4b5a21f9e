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
from pathlib import Path
from typing import Any

import numpy as np

from tasks.errors import ProofFailed
from tasks.isolation import isolated
from tasks.outputs import joined
from tasks.proving import prove
from tasks.requirements import closure
from tasks.served_rows import number_columns, raw_rows, values_of, without_continuing

# what nearly every package requires
USUAL = ("mlflow", "keras", "tensorflow")
logger = logging.getLogger(__name__)


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """What the process does with a question: proves a version, or only predicts with it.

    Args:
        question: As `tasks.prover` puts it.
    """
    import mlflow

    mlflow.set_tracking_uri(question["mlflow_uri"])
    mlflow.set_registry_uri(question["mlflow_uri"])
    return prove(question) if question["wanted"] == "proof" else predict(question)


def predict(question: dict[str, Any]) -> dict[str, Any]:
    """Loads a version, predicts, and writes the predictions, with all that is installed here.

    Args:
        question: As `tasks.prover.predict_registered` puts it.
    """
    import mlflow

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        # a copy of its own: loading writes files beside the model
        model = mlflow.pyfunc.load_model(question["uri"], suppress_warnings=True, dst_path=folder)
        loaded = time.perf_counter()
        rows = np.load(question["rows"], allow_pickle=False)
        raw = raw_rows(Path(question["snapshot"]), question["columns"], rows)
        frames = [model.predict(batch, without_continuing(model)) for batch in raw]
    columns = number_columns(list(frames[0]))
    values = joined([values_of(frame, columns) for frame in frames])
    np.save(question["output"], values, allow_pickle=False)
    return {
        "columns": columns,
        "load_seconds": loaded - started,
        "predict_seconds": time.perf_counter() - loaded,
    }


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
        except ProofFailed as error:
            reply = {"refusal": str(error)}
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


def _import_ahead() -> None:
    """Imports what an answer will need, while there is nothing to do yet.

    Under the requirements of nearly every package, so that no library finds an optional part of
    its own that a server would not have.
    """
    with isolated(closure(USUAL), Path(os.devnull)):
        import keras
        import mlflow.pyfunc
        import mlflow.pyfunc.loaders.code_model
        import mlflow.pyfunc.scoring_server
        import uvicorn  # noqa: F401

        # the backend sets itself up at its first operation
        keras.ops.convert_to_numpy(keras.ops.zeros(1))
    if "://" in (uri := mlflow.get_tracking_uri()) and not uri.startswith("http"):
        import mlflow.store.model_registry.sqlalchemy_store
        import mlflow.store.tracking.sqlalchemy_store


if __name__ == "__main__":
    serve()
