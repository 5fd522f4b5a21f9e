"""The process that makes and measures forms: a job as a line of JSON in, answers as lines out.

It is started as `python -m tasks.conversion.process` by `tasks.conversion.workshop`. A converter of
another language can end its process, and writes what it likes to its error output; here neither
does harm. It uses no GPU, so that all forms are measured on the same processor.
"""

import functools
import json
import os
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.conversion.converters import convert, zip_folder
from tasks.conversion.forms import FILES, Form
from tasks.conversion.runtimes import Network, open_form
from tasks.handoffs import PreparedData
from tasks.judging import JudgedRows, open_rows, predict
from tasks.metrics import measure
from tasks.storage import Storage

# the first rows find caches cold and code not compiled yet
ROWS_BEFORE, ROWS_AT_MOST, SECONDS_AT_MOST = 5, 300, 3.0
Predict = Callable[[Network], NDArray[np.float32]]


class Bench:
    """Makes one form after another of the same networks and measures them on the same rows.

    Args:
        job: From `tasks.conversion.workshop`: `storage_uri`; `prepared`, the hand-off; `networks`,
            the stored networks by `original` and `pruned`; and `folder`, where forms are written.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        storage = Storage(job["storage_uri"])
        self._prepared = PreparedData.model_validate(job["prepared"])
        self._rows: JudgedRows = open_rows(storage, self._prepared, self._prepared.test)
        self._networks = {name: Path(path) for name, path in job["networks"].items()}
        self._folder = Path(job["folder"])

    @functools.lru_cache(maxsize=2)  # noqa: B019  # a bench lives as long as its process
    def _of_network(self, name: str) -> NDArray[np.float32]:
        """What a network predicts, before it is converted."""
        kind = self._networks[name].suffix
        network = open_form(self._networks[name], "onnx" if kind == ".onnx" else "keras")
        return predict(network, self._rows)

    def make(self, form: Form) -> dict[str, Any]:
        """Makes a form, and measures it.

        Returns:
            `path` of the file; `size` and `zipped` in bytes; `metrics`; `latency`, the median and
            the 99th percentile in milliseconds; `difference` of the predictions from the original's
            and `conversion`, from those of the network that the form was made of.
        """
        source = "pruned" if form.pruned else "original"
        path, opened = self._written(form, self._networks[source])
        network = open_form(opened, form.format)
        found = predict(network, self._rows)
        problem, truth = self._prepared.snapshot.problem, self._rows.truth
        sizes = [file.stat().st_size for file in opened.rglob("*") if file.is_file()]
        is_folder = opened.is_dir()
        return {
            "path": str(path),
            "size": sum(sizes) if is_folder else path.stat().st_size,
            "zipped": path.stat().st_size if is_folder else len(zlib.compress(path.read_bytes())),
            "metrics": measure(problem, truth, found, classes=self._prepared.classes),
            "latency": _latency(network, self._rows.inputs),
            "difference": largest_difference(found, self._of_network("original")),
            "conversion": largest_difference(found, self._of_network(source)),
        }

    def _written(self, form: Form, source: Path) -> tuple[Path, Path]:
        """The file to keep, and what its runtime opens."""
        if form.is_original:
            return source, source
        folder = self._folder / form.name.replace(" ", "-")
        folder.mkdir()
        path = folder / FILES[form.format]
        if form.format != "saved_model":
            convert(source, form, path)
            return path, path
        convert(source, form, folder / "saved_model")
        zip_folder(folder / "saved_model", path)
        return path, folder / "saved_model"


def largest_difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest absolute difference, in units of the largest expected value where that is above 1.

    Args:
        found: Predictions, as `tasks.outputs` describes them.
        expected: Others of the same rows.

    Returns:
        The difference; NaN where one of them says nothing and the other does.
    """
    told = ~(np.isnan(found) & np.isnan(expected))
    there, wanted = found[told].astype(np.float64), expected[told]
    scale = max(1.0, float(np.nanmax(np.abs(wanted), initial=0.0)))
    return float(np.abs(there - wanted).max(initial=0.0)) / scale


def _latency(network: Network, inputs: NDArray[Any]) -> list[float]:
    """Median and 99th percentile of the milliseconds for a single prepared row."""
    found: list[float] = []
    started = time.perf_counter()
    for row in np.arange(ROWS_BEFORE + ROWS_AT_MOST) % len(inputs):
        single = np.ascontiguousarray(inputs[row : row + 1])
        before = time.perf_counter()
        network(single)
        found.append(1000 * (time.perf_counter() - before))
        if len(found) > ROWS_BEFORE and time.perf_counter() - started > SECONDS_AT_MOST:
            break
    return [float(value) for value in np.percentile(found[ROWS_BEFORE:] or found, (50, 99))]


def serve() -> None:
    """Makes the forms of one job, and ends; or ends at once when its parent does."""
    answers = os.fdopen(os.dup(1), "wb")
    # whatever a library prints must not get between the answers
    os.dup2(2, 1)
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    bench = Bench(job)
    for fields in job["forms"]:
        try:
            answer = bench.make(Form(**fields))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    serve()
