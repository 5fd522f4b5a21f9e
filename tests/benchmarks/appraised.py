"""What it costs to judge and to prove a model, for `make bench`."""

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from measuring import HERE, ROUNDHOUSE, Measure, measure, pairs, report

from tasks.appraisal import Lineage
from tasks.served_rows import raw_rows
from tasks.storage import Storage
from tasks.tracking import client


def bench_gate(rounds: int) -> None:
    """CPU seconds of the comparison with a champion, by the gate's metric."""
    script = str(HERE / "gate_cpu.py")
    found = [last_line(measure([sys.executable, script])) for _ in range(rounds)]
    for metric in found[0]:
        seconds = [answer[metric] for answer in found]
        print(
            f"{f'gate, 10,000 rows and resamples, {metric}':<44} {statistics.median(seconds):5.2f}"
            f"  ({min(seconds):.2f} to {max(seconds):.2f})  goal 2.0    seconds of CPU",
            flush=True,
        )


def bench_proof(rounds: int) -> None:
    """Verification against importing MLflow, loading the version and predicting by hand.

    Each is a whole process, from its start to its end. Ours starts nothing ahead; in a pipeline's
    run the fresh process imports while the network trains.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        measure([ROUNDHOUSE, "run", "digits"], ROUNDHOUSE_HOME=str(home))
        uri, storage = f"sqlite:///{home / 'mlflow.db'}", str(home / "storage")
        written = lineage_of(uri, Path(folder))
        lineage = Lineage.model_validate_json(written.read_text())
        rows = Path(folder) / "rows.npy"
        np.save(rows, test_rows(lineage, Storage(storage)))
        ours = [sys.executable, str(HERE / "proved.py"), str(written), uri, storage]
        theirs = [sys.executable, str(HERE / "bare_loading.py"), uri, lineage.registered.uri]
        proofs, bare = pairs(
            rounds, lambda _: measure(ours), lambda _: measure([*theirs, str(rows)])
        )
    report("verification, cold / load and predict by hand", proofs, bare, "1.5")


def lineage_of(uri: str, folder: Path) -> Path:
    """The lineage of the only run of digits, as a file."""
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    service = client(uri)
    experiment = service.get_experiment_by_name("digits")
    (run,) = service.search_runs([experiment.experiment_id])
    return Path(service.download_artifacts(run.info.run_id, "lineage.json", str(folder)))


def test_rows(lineage: Lineage, storage: Storage) -> np.ndarray:
    """The raw test images."""
    snapshot = lineage.prepared.snapshot
    columns = [column.model_dump(mode="json") for column in snapshot.features]
    rows = storage.array(lineage.prepared.test.rows)
    return np.concatenate(list(raw_rows(storage.path(snapshot.file), columns, rows)))


def last_line(measured: Measure) -> dict[str, float]:
    answer: dict[str, float] = json.loads(measured.output.strip().splitlines()[-1])
    return answer
