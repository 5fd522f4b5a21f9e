"""A fresh process that loads registered models and predicts raw rows, as its parent sees it.

It is started ahead of time, so that it imports Keras and MLflow while a network trains. It is given
addresses only, and never outlives its parent. What it runs is `tasks.prover_process`.
"""

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ProofFailed, ServiceError
from tasks.handoffs import RunContext, Snapshot
from tasks.keys import without_keys
from tasks.settings import PROJECT_FOLDER
from tasks.storage import Storage

# to load and predict takes seconds; a process that says nothing for this long hangs
ANSWER_SECONDS = 900.0
ENVIRONMENT = {
    # no registered model may need to be unpickled
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # the GPU belongs to the training; that a model also serves without one is part of the proof
    "CUDA_VISIBLE_DEVICES": "-1",
    # the one that packages require, whatever trains here
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


@dataclass(frozen=True)
class Prediction:
    """What a registered model gave.

    Args:
        columns: Names of the columns: a `probability_<label>` each, or `prediction` or
            `log_probabilities` alone.
        values: float32 [rows, columns], in the order of the rows asked for; for problems of
            sequences [rows, places, columns], NaN beyond the last place of a row.
        load_seconds: Time to load the version, imports not counted.
        predict_seconds: Time to read and predict the rows.
    """

    columns: tuple[str, ...]
    values: NDArray[np.float32]
    load_seconds: float
    predict_seconds: float


@dataclass(frozen=True)
class Findings:
    """What a registered model gave and did, loaded with nothing but its own requirements.

    Args:
        prediction: In batches, of all rows asked for.
        singly: The same as `prediction.values`, of rows that were asked for one by one.
        single_rows: Which rows these are, by their places in the batches, int64 [rows].
        served: The same, of the first rows, over HTTP.
        figures: The rest, by the names of the fields of `tasks.judgement.Proof`.
    """

    prediction: Prediction
    singly: NDArray[np.float32]
    single_rows: NDArray[np.int64]
    served: NDArray[np.float32]
    figures: dict[str, Any]


class Prover:
    """The process, seen from the one that started it; it answers one question at a time.

    Args:
        mlflow_uri: Address of the registry that will be asked for, so that it imports what that
            needs before.
    """

    def __init__(self, mlflow_uri: str) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # goes with the prover itself
        paths = (os.environ.get("PYTHONPATH", ""), str(PROJECT_FOLDER))
        search = os.pathsep.join(path for path in paths if path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tasks.prover_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={
                # it is given readable copies, and hashes nothing
                **without_keys(dict(os.environ)),
                **ENVIRONMENT,
                "PYTHONPATH": search,
                "MLFLOW_TRACKING_URI": mlflow_uri,
            },
            # an interrupt from the keyboard is answered by the parent alone
            start_new_session=True,
        )

    @property
    def process_id(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, question: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
        """Asks and waits for the answer.

        Raises:
            ProofFailed: It answered with an error.
            ServiceError: It ended or did not answer in time.
        """
        said_before = os.fstat(self._log.fileno()).st_size
        line = self._exchange(json.dumps(question).encode() + b"\n", timeout_seconds)
        if not line:
            last_words = self._last_words(said_before)
            self.close()
            raise ServiceError(
                f"The fresh process that loads {question['uri']} ended or gave no answer within "
                f"{timeout_seconds:g} s; its last words: {last_words}. Look for "
                "a lack of memory, and run the pipeline again."
            )
        answer: dict[str, Any] = json.loads(line)
        if "refusal" in answer:
            raise ProofFailed(f"{question['uri']} is not fit to serve. {answer['refusal']}")
        if "error" in answer:
            raise ProofFailed(
                f"A fresh process could not predict with {question['uri']}: {answer['error']}. "
                "Expected it to load without pickle and to take the rows of the snapshot; look "
                "at the code in tasks/served.py and tasks/features.py that it was packaged with."
            )
        return answer

    def close(self) -> None:
        """Ends the process; it holds nothing that could be lost."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._log.close()

    def _exchange(self, question: bytes, timeout_seconds: float) -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            return b""
        try:
            stdin.write(question)
            stdin.flush()
            ready, _, _ = select.select([stdout], [], [], timeout_seconds)
            return stdout.readline() if ready else b""
        except (OSError, ValueError):
            return b""

    def _last_words(self, said_before: int) -> str:
        self._log.seek(said_before)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "none"


class _Shared:
    """The one prover of this process, which stages in any thread may ask in turn."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._prover: Prover | None = None

    def get(self, mlflow_uri: str) -> Prover:
        if self._prover is None:
            atexit.register(self.close)
        if self._prover is None or not self._prover.is_alive:
            self.close()
            self._prover = Prover(mlflow_uri)
        return self._prover

    def close(self) -> None:
        if self._prover is not None:
            self._prover.close()
            self._prover = None


_shared = _Shared()


def warm(mlflow_uri: str) -> None:
    """Starts the prover, if there is none yet, and comes back at once.

    Args:
        mlflow_uri: Address of the registry that will be asked for.
    """
    with _shared.lock:
        _shared.get(mlflow_uri)


def close() -> None:
    """Ends the prover, if there is one."""
    with _shared.lock:
        _shared.close()


def predict_registered(
    context: RunContext,
    uri: str,
    snapshot: Snapshot,
    rows: NDArray[np.int64],
    timeout_seconds: float = ANSWER_SECONDS,
) -> Prediction:
    """Lets the fresh process load a registered model and predict raw rows of a snapshot.

    Args:
        context: Gives the registry and the storage.
        uri: Registry address, `models:/<name>/<version>`.
        snapshot: Where the raw rows are.
        rows: Row numbers in the snapshot, int64 [rows], ascending.
        timeout_seconds: How long to wait for the answer.

    Raises:
        ProofFailed: The model cannot be loaded, or does not take the rows.
    """
    with Storage(context.storage_uri).workspace() as folder, _shared.lock:
        question = _question("predictions", context, uri, snapshot, rows, folder)
        answer = _shared.get(context.mlflow_uri).ask(question, timeout_seconds)
        return _prediction(answer, folder)


def prove_registered(
    context: RunContext,
    uri: str,
    snapshot: Snapshot,
    rows: NDArray[np.int64],
    timeout_seconds: float = ANSWER_SECONDS,
) -> Findings:
    """Lets the fresh process serve a registered model in every way, with its requirements alone.

    Args:
        context: Gives the registry and the storage.
        uri: Registry address, `models:/<name>/<version>`.
        snapshot: Where the raw rows are.
        rows: Row numbers in the snapshot, int64 [rows], ascending.
        timeout_seconds: How long to wait for the answer.

    Raises:
        ProofFailed: It needs more than its requirements, or takes rows that it is to refuse.
    """
    with Storage(context.storage_uri).workspace() as folder, _shared.lock:
        question = _question("proof", context, uri, snapshot, rows, folder)
        answer = _shared.get(context.mlflow_uri).ask(question, timeout_seconds)
        prediction = _prediction(answer, folder)
        return Findings(
            prediction=prediction,
            singly=np.load(folder / "singly.npy", allow_pickle=False),
            single_rows=np.array(answer.pop("single_rows"), np.int64),
            served=np.load(folder / "served.npy", allow_pickle=False),
            figures={name: value for name, value in answer.items() if name != "columns"},
        )


def _question(
    wanted: Literal["predictions", "proof"],
    context: RunContext,
    uri: str,
    snapshot: Snapshot,
    rows: NDArray[np.int64],
    folder: Path,
) -> dict[str, Any]:
    """A question as JSON; the arrays of it and of its answer are files in a folder."""
    place = folder.absolute()
    np.save(place / "rows.npy", rows, allow_pickle=False)
    return {
        "wanted": wanted,
        "mlflow_uri": context.mlflow_uri,
        "uri": uri,
        "snapshot": str(Storage(context.storage_uri).path(snapshot.file).absolute()),
        "columns": [column.model_dump(mode="json") for column in snapshot.features],
        "rows": str(place / "rows.npy"),
        **{name: str(place / f"{name}.npy") for name in ("output", "singly", "served")},
    }


def _prediction(answer: dict[str, Any], folder: Path) -> Prediction:
    return Prediction(
        columns=tuple(answer["columns"]),
        values=np.load(folder / "output.npy", allow_pickle=False),
        load_seconds=answer["load_seconds"],
        predict_seconds=answer["predict_seconds"],
    )
