"""The process that makes and measures forms, as its parent sees it.

What it runs is `tasks.conversion.process`. A converter that ends the process costs its own form
only: the others are made by another process.
"""

import json
import os
import re
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tasks.conversion.forms import Form
from tasks.handoffs import PreparedData
from tasks.settings import PROJECT_FOLDER

# a process that says nothing for this long hangs: a large network on many rows takes minutes
FORM_SECONDS = 3600.0
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # the backend that has the converters; a `.keras` file is of none
    "KERAS_BACKEND": "tensorflow",
}
COMMAND = (sys.executable, "-m", "tasks.conversion.process")
LONGEST_REASON = 200


@dataclass(frozen=True)
class Outcome:
    """What became of a form.

    Args:
        form: The form.
        path: Its file; None where it could not be made.
        size: Bytes, of a folder those of its files.
        zipped: Bytes when compressed.
        metrics: On the test rows.
        latency: Milliseconds for a single row: the median and the 99th percentile.
        difference: Largest difference of its predictions from the original's.
        conversion: The same from those of the network that it was made of.
        error: Why it could not be made, as a part of a sentence.
    """

    form: Form
    path: Path | None = None
    size: int = 0
    zipped: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    latency: tuple[float, float] = (0.0, 0.0)
    difference: float = 0.0
    conversion: float = 0.0
    error: str = ""


def make_forms(
    forms: Sequence[Form],
    networks: Mapping[str, Path],
    prepared: PreparedData,
    storage_uri: str,
    folder: Path,
) -> Iterator[Outcome]:
    """Makes forms and measures them on the test rows, in a process of their own.

    Args:
        forms: Which ones, in order.
        networks: The network's file by `original`, and by `pruned` where there is such.
        prepared: The rows.
        storage_uri: Where they are.
        folder: An empty folder, in which the forms are written.

    Yields:
        An outcome for each form, in order.
    """
    job = {
        "storage_uri": storage_uri,
        "prepared": prepared.model_dump(mode="json"),
        "networks": {name: str(path.absolute()) for name, path in networks.items()},
        "folder": str(folder.absolute()),
    }
    pending = list(forms)
    while pending:
        # the process ends with its last form, or with one that its converter does not survive
        for answer in _answers(job | {"forms": [asdict(form) for form in pending]}):
            form = pending.pop(0)
            yield _outcome(form, answer)
            if not pending or "ended" in answer:
                break


def _answers(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a process answers; the last answer may be that it has `ended`."""
    paths = (os.environ.get("PYTHONPATH", ""), str(PROJECT_FOLDER))
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={
                **os.environ,
                **ENVIRONMENT,
                "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            },
            # an interrupt from the keyboard is answered by the parent alone
            start_new_session=True,
        ) as process,
    ):
        try:
            stdin, stdout = process.stdin, process.stdout
            if stdin is None or stdout is None:
                return
            stdin.write(json.dumps(job).encode() + b"\n")
            stdin.flush()
            while True:
                ready, _, _ = select.select([stdout], [], [], FORM_SECONDS)
                line = stdout.readline() if ready else b""
                if not line:
                    process.kill()
                    yield {"ended": True, "error": _last_words(log, process.wait())}
                    return
                yield json.loads(line)
        finally:
            process.kill()


def _last_words(log: Any, status: int) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    said = lines[-1][:LONGEST_REASON] if lines else "nothing"
    return f"its process ended with status {status} or gave no answer, and said last: {said}"


def _outcome(form: Form, answer: dict[str, Any]) -> Outcome:
    if "error" in answer:
        return Outcome(form=form, error=_in_words(form, answer["error"]))
    answer["latency"] = tuple(answer["latency"])
    return Outcome(form=form, **{**answer, "path": Path(answer["path"])})


def _in_words(form: Form, error: str) -> str:
    """A converter's error as a part of a sentence: those of LiteRT are pages of nested places."""
    lacking = re.findall(r"'?(?:tf\.|Flex)([A-Z]\w+)'?", error)
    if form.format == "litert" and lacking:
        names = ", ".join(dict.fromkeys(lacking))
        return f"LiteRT has no operation for TensorFlow's {names}"[:LONGEST_REASON]
    return " ".join(error.split())[:LONGEST_REASON].rstrip(".")
