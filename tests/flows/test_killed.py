"""A run that is killed at any moment from the packaging on, and run again."""

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

KILLS = 30
STAGES = (
    "package model", "register model", "verify model", "promote model", "explain model",
    "export model", "describe model", "summarise run",
)  # fmt: skip
TAGS = "roundhouse.{}"


def start(command: Any, seed: int, temporary: Path) -> Any:
    """Starts a run that trains another version than those before."""
    changes = ("--set", "training.epochs=1", "--set", f"training.seed={seed}")
    easy = ("--set", "gate.minimum=null", "--set", "gate.margin=0.5")
    return command.start("run", "digits", *changes, *easy, TMPDIR=str(temporary))


def follow(process: Any, stage: str = STAGES[0], after: float | None = None) -> Any:
    """What a run shows, and the seconds from a stage's start on; it is killed then."""
    shown, began = [], 0.0
    for line in process.stdout:
        shown.append(line.strip())
        if f"… {stage}" in line:
            began = time.monotonic()
            if after is not None:
                threading.Timer(after, process.send_signal, [signal.SIGKILL]).start()
    process.wait()
    return shown, time.monotonic() - began


def moments(seconds: float) -> Iterator[tuple[str, float]]:
    """Random moments: every other one of all the time, the others of short stages as well."""
    chance = random.Random(5)
    while True:
        yield STAGES[0], chance.uniform(0, seconds)
        yield chance.choice(STAGES), chance.uniform(0, 0.1)


@pytest.mark.slow
def test_killed_at_thirty_random_moments_and_run_again_nothing_is_lost_or_twice(
    roundhouse: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    _, seconds = follow(start(roundhouse, 0, temporary))
    hit = Counter[str]()
    for seed, (stage, after) in enumerate(moments(seconds), start=1):
        process = start(roundhouse, seed, temporary)
        shown, _ = follow(process, stage, after)
        stages = [line[2:] for line in shown if line.startswith("…")]
        # one that had ended before is none of the thirty
        hit[stages[-1]] += process.returncode == -signal.SIGKILL
        again = start(roundhouse, seed, temporary)
        shown, _ = follow(again)
        assert again.returncode == 0, (shown, again.stderr.read())
        require_order(roundhouse, seed + 1, temporary)
        if hit.total() == KILLS:
            break
    with capsys.disabled():
        print(f"\nkilled in: {dict(+hit)}")  # noqa: T201  # the figures are what the hour was for
    assert len(+hit) > 4


def require_order(command: Any, versions: int, temporary: Path) -> None:
    """Each version is there once and complete, and nothing else is."""
    client = command.client
    found = {int(v.version): v for v in client.search_model_versions("name = 'digits'")}
    assert sorted(found) == list(range(1, versions + 1))
    fingerprints = {version.tags[TAGS.format("fingerprint")] for version in found.values()}
    assert len(fingerprints) == versions
    assert {version.status for version in found.values()} == {"READY"}

    experiment = client.get_experiment_by_name("digits")
    models = client.search_logged_models([experiment.experiment_id])
    assert {m.artifact_location for m in models} == {v.source for v in found.values()}
    assert {model.status for model in models} == {"READY"}
    root = Path(experiment.artifact_location.removeprefix("file://")) / "models"
    assert {path.name for path in root.iterdir()} == {model.model_id for model in models}

    aliases = {k: int(v) for k, v in client.get_registered_model("digits").aliases.items()}
    assert aliases["challenger"] == versions
    for number in aliases.values():
        assert TAGS.format("proof") in found[number].tags
    assert json.loads(found[aliases["champion"]].tags[TAGS.format("verdict")])["promoted"]

    runs = {run.info.run_id: run for run in command.runs("digits")}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    for number, version in found.items():
        folder = runs[version.tags[TAGS.format("recorded")]].info.artifact_uri
        lineage = json.loads(Path(folder.removeprefix("file://"), "lineage.json").read_text())
        assert lineage["registered"]["version"] == number

    storage = command.home / "storage"
    left = [*storage.rglob("*unfinished-*"), *storage.rglob("workspace-*")]
    assert left + list(temporary.glob("roundhouse-*/workspace-*")) == []
