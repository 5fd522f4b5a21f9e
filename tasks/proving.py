"""What the fresh process does to prove a registered version: it serves it, in every way it can.

The version is loaded with its own requirements alone; predicts in batches, singly and over HTTP;
and is given rows that it has to refuse.
"""

import gc
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from tasks import scoring_server
from tasks.broken_rows import BrokenRow, broken_rows
from tasks.errors import ProofFailed
from tasks.isolation import isolated
from tasks.outputs import joined
from tasks.requirements import closure, read_requirements, require_installed
from tasks.served_rows import number_columns, raw_rows, values_of, without_continuing

if TYPE_CHECKING:
    import pandas as pd

# the first rows find caches cold and code not compiled yet
ROWS_BEFORE, SINGLE_ROWS, SINGLE_SECONDS = 5, 205, 1.0
ROWS_SERVED = 16
REFUSED = range(400, 500)


@dataclass
class Findings:
    """What a proof has found so far.

    Args:
        model: The loaded model.
        batches: The raw rows.
        frames: What it gave for them, batch by batch.
        answer: The figures.
    """

    model: Any
    batches: list[Any]
    frames: "list[pd.DataFrame]" = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)


def prove(question: dict[str, Any]) -> dict[str, Any]:
    """Loads a version with its requirements alone, and tries all that a server has to do.

    Args:
        question: As `tasks.prover.prove_registered` puts it.

    Returns:
        The figures; the predictions are in the files that the question names.

    Raises:
        ProofFailed: It needs more than its requirements, or takes a row that it has to refuse.
    """
    import mlflow

    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        # a copy of its own: loading writes files beside the model
        folder = Path(mlflow.artifacts.download_artifacts(question["uri"], dst_path=place))
        fetched = time.perf_counter()
        requirements = read_requirements(folder)
        require_installed(requirements)
        distributions = closure(requirements)
        rows = np.load(question["rows"], allow_pickle=False)
        batches = list(raw_rows(Path(question["snapshot"]), question["columns"], rows))
        before = _resident_bytes()
        with isolated(distributions, folder):
            loading = time.perf_counter()
            model = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
            seconds = time.perf_counter() - loading + fetched - started
            found = Findings(model, batches)
            columns = _predict_batches(found, Path(question["output"]))
            _predict_singly(found, columns, rows, Path(question["singly"]))
            _try_broken_rows(found, question["columns"])
            _serve(found, columns, question["columns"], Path(question["served"]))
        memory = max(_resident_bytes() - before, 0)
    return {
        **found.answer,
        "columns": columns,
        "requirements": list(requirements),
        "distributions": len(distributions),
        "load_seconds": seconds,
        "memory_bytes": memory,
    }


def _predict_batches(found: Findings, output: Path) -> list[str]:
    """Predicts all rows, batch by batch, and names the columns with numbers."""
    started = time.perf_counter()
    params = without_continuing(found.model)
    found.frames = [found.model.predict(batch, params) for batch in found.batches]
    columns = number_columns([str(name) for name in found.frames[0].columns])
    values = joined([values_of(frame, columns) for frame in found.frames])
    np.save(output, values, allow_pickle=False)
    found.answer["predict_seconds"] = time.perf_counter() - started
    return columns


def _predict_singly(found: Findings, columns: list[str], rows: Any, output: Path) -> None:
    """Predicts evenly spaced rows one by one, as a server is asked, and takes their times."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), SINGLE_ROWS)).round())
    # so that what is left out when the time is up is not always the end
    order = np.random.default_rng(0).permutation(chosen.astype(int))
    parts, milliseconds = [], []
    for row in _single_rows(found.batches, order):
        before = time.perf_counter()
        frame = found.model.predict(row)
        milliseconds.append(1000 * (time.perf_counter() - before))
        parts.append(values_of(frame, columns))
        if sum(milliseconds[ROWS_BEFORE:]) > 1000 * SINGLE_SECONDS:
            break
    np.save(output, joined(parts), allow_pickle=False)
    timed = np.array(milliseconds[ROWS_BEFORE:] or milliseconds)
    found.answer |= {
        "single_rows": order[: len(parts)].tolist(),
        "latency_median_ms": float(np.median(timed)),
        "latency_p99_ms": float(np.percentile(timed, 99)),
        "latency_rows": len(timed),
    }


def _try_broken_rows(found: Findings, columns: list[dict[str, Any]]) -> None:
    """Gives the model rows that break its signature, each of which it has to refuse clearly."""
    faults = []
    for broken in broken_rows(found.batches[0][:1], columns):
        try:
            found.model.predict(broken.rows, without_continuing(found.model))
        except Exception as error:
            _require_clear(broken, error)
        else:
            raise _taken(broken, "")
        faults.append(broken.fault)
    found.answer |= {"refused": sorted(set(faults)), "refused_rows": len(faults)}


def _serve(found: Findings, columns: list[str], asked: list[dict[str, Any]], output: Path) -> None:
    """Asks MLflow's scoring server for predictions, and for what it has to refuse."""
    import pandas as pd

    rows = found.batches[0][:ROWS_SERVED]
    broken = next(broken_rows(rows[:1], asked))
    params = without_continuing(found.model)
    with scoring_server.served(found.model) as address:
        started = time.perf_counter()
        status, _ = scoring_server.request(f"{address}/ping")
        answers = [
            scoring_server.request(f"{address}/invocations", scoring_server.as_payload(r, params))
            for r in (rows, broken.rows)
        ]
        seconds = time.perf_counter() - started
    (given, text), (refusal, message) = answers
    if {status, given} != {200}:
        raise ProofFailed(
            f"MLflow's scoring server answered {status} to a ping and {given} to {len(rows)} rows "
            f"({_last_error(text)}); expected 200 both times. Look at the code in tasks/served.py "
            "that it was packaged with."
        )
    if refusal not in REFUSED or broken.named not in _last_error(message):
        raise _taken(broken, f", over HTTP with the status {refusal}")
    frame = pd.DataFrame(json.loads(text)["predictions"])
    np.save(output, values_of(frame, columns), allow_pickle=False)
    found.answer |= {
        "served_rows": len(rows),
        "served_seconds": seconds,
        "refusal_status": refusal,
    }


def _single_rows(batches: list[Any], order: Any) -> Any:
    """Raw rows, each as a batch of its own, by their places in all batches."""
    ends = np.cumsum([len(batch) for batch in batches])
    for place in order:
        number = int(np.searchsorted(ends, place, side="right"))
        row = place - (ends[number] - len(batches[number]))
        yield batches[number][row : row + 1]


def _require_clear(broken: BrokenRow, error: Exception) -> None:
    """Makes sure that a refusal says what is wrong, and that MLflow's signature made it."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException) or broken.named not in _last_error(str(error)):
        raise _taken(broken, f", with a {type(error).__name__}") from error


def _taken(broken: BrokenRow, how: str) -> ProofFailed:
    what = "answered other than by saying so" if how else "predicted it"
    return ProofFailed(
        f"The model was given {broken.fault} and {what}{how}; expected it to be refused with a "
        f"sentence that names {broken.named}, as MLflow does where a signature says what a model "
        "takes. Give it a signature with every column required, and package it again."
    )


def _last_error(text: str) -> str:
    """An error without the rows that MLflow quotes in front of it, 200 characters at most."""
    return " ".join(text.rpartition("Error: ")[2].split())[:200]


def _resident_bytes() -> int:
    """Memory of this process, without what is held for later only."""
    import pyarrow

    gc.collect()
    pyarrow.default_memory_pool().release_unused()
    return int(psutil.Process().memory_info().rss)
