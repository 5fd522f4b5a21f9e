"""The main job through the real command, with the embedded server, on a fresh home."""

import json
import os
import shutil
import signal
import sqlite3
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

STAGES = (
    "ingest data", "check data", "prepare data", "train model", "evaluate model",
    "measure slices", "package model", "register model", "verify model", "promote model",
    "explain model", "export model", "describe model", "summarise run",
)  # fmt: skip
PICTURES = {
    "pictures/calibration.png",
    "pictures/confusion_matrix.png",
    "pictures/learning_curves.png",
    "pictures/mistakes.png",
    "pictures/roc_and_precision_recall.png",
}


@pytest.fixture(scope="session")
def first(first_digits: Any) -> Any:
    """The command after `roundhouse run digits` on a fresh home; what it printed is `.done`."""
    return first_digits


@pytest.fixture(scope="session")
def first_run(first: Any) -> Any:
    return first.runs("digits")[0]


@pytest.fixture
def copied(first: Any, roundhouse_at: Any, tmp_path: Path) -> Any:
    """A copy of the home for one test alone; stored files are found where they were."""
    shutil.copytree(first.home, tmp_path / "home")
    return roundhouse_at(tmp_path / "home")


@pytest.fixture(scope="session")
def prefect_api(first: Any, tmp_path_factory: Any) -> Iterator[Callable[..., Any]]:
    """Asks the Prefect API over a copy of the home: (path, **filter) -> JSON."""
    from infra.embedded import EmbeddedServer
    from infra.environment import EMBEDDED, environment
    from tasks.settings import Settings

    home = tmp_path_factory.mktemp("asked") / "home"
    shutil.copytree(first.home / "prefect", home / "prefect")
    log = home / "server.log"
    with EmbeddedServer({**environment(Settings(home=home)), **EMBEDDED}, log) as server:
        server.start()
        server.wait()

        def ask(path: str, **body: Any) -> Any:
            request = urllib.request.Request(
                f"{server.api_url}/{path}",
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)

        yield ask


def test_each_stage_is_shown_in_order(first: Any) -> None:
    shown = first.done.stdout
    places = [shown.index(f"✓ {stage}") for stage in STAGES]
    assert places == sorted(places)
    assert "epoch 1/" in shown


def test_the_summary_says_what_a_person_wants_to_know(first: Any) -> None:
    shown = first.done.stdout
    assert "1,797 rows" in shown
    assert "checks passed" in shown
    for word in ("accuracy", "majority", "linear", "Verdict", "digits v1, champion and challenger"):
        assert word in shown
    assert "roundhouse up" in shown


def test_nothing_else_is_printed(first: Any) -> None:
    assert first.done.stderr == ""


def test_the_run_in_mlflow_has_parameters_and_metrics_per_epoch(first: Any, first_run: Any) -> None:
    assert first_run.info.status == "FINISHED"
    assert first_run.data.params["training.epochs"] == "20"
    assert first_run.data.params["ingestion.dataset"] == "digits"
    history = first.client.get_metric_history(first_run.info.run_id, "val_loss")
    assert [point.step for point in history][:3] == [1, 2, 3]
    metrics = first_run.data.metrics
    assert metrics["test/accuracy"] > 0.95
    assert metrics["test/accuracy"] > metrics["baseline/majority/accuracy"]
    assert any(name.startswith("system/cpu") for name in metrics)
    assert {f"seconds/{stage.replace(' ', '_')}" for stage in STAGES} <= set(metrics)


def test_the_run_in_mlflow_has_its_lineage(first: Any, first_run: Any) -> None:
    tags = first_run.data.tags
    assert len(tags["roundhouse.lock"]) == 64
    assert tags["roundhouse.hardware"]
    assert tags["roundhouse.prefect_flow_run"] in tags["roundhouse.prefect_address"]
    dataset = first_run.inputs.dataset_inputs[0].dataset
    assert dataset.name == "digits"
    lineage = json.loads(artifact(first, first_run, "lineage.json"))
    assert lineage["prepared"]["snapshot"]["file"]["sha256"].startswith(dataset.digest)
    assert lineage["promotion"]["champion"] == 1
    assert tags["roundhouse.prefect_address"] in tags["mlflow.note.content"]


def test_the_run_in_mlflow_has_the_report_and_the_pictures(first: Any, first_run: Any) -> None:
    run_id = first_run.info.run_id
    assert "<html" in artifact(first, first_run, "checks/index.html").lower()
    assert {f.path for f in first.client.list_artifacts(run_id, "pictures")} >= PICTURES


def test_the_version_is_described_and_has_its_aliases(first: Any) -> None:
    assert first.registry() == [("digits", 1, {"champion": 1, "challenger": 1})]
    version = first.client.get_model_version("digits", "1")
    assert "digits" in version.description
    assert json.loads(version.tags["roundhouse.verdict"])["promoted"] is True
    assert json.loads(version.tags["roundhouse.proof"])["largest_difference"] < 1e-4


def test_the_run_in_prefect_says_what_and_why(prefect_api: Any, first_run: Any) -> None:
    (flow_run,) = prefect_api("flow_runs/filter")
    assert flow_run["name"] == "digits: first training"
    assert flow_run["state_type"] == "COMPLETED"
    assert flow_run["id"] == first_run.data.tags["roundhouse.prefect_flow_run"]
    names = [run["name"] for run in prefect_api("task_runs/filter", sort="EXPECTED_START_TIME_ASC")]
    assert names == ["plan run", *STAGES]


def test_prefect_shows_the_summary_and_the_table(prefect_api: Any, first_run: Any) -> None:
    artifacts = {a["key"]: a["data"] for a in prefect_api("artifacts/filter")}
    assert first_run.info.run_id in artifacts["digits-summary"]
    rows = json.loads(artifacts["digits-metrics"])
    assert rows[0]["metric"] == "accuracy"


def test_an_unchanged_pipeline_is_up_to_date(first: Any) -> None:
    again = first("run", "digits")
    assert again.returncode == 0
    assert (
        "digits is up to date: champion v1 was trained from this data, configuration and code"
        in again.stdout
    )
    assert len(first.runs("digits")) == 1


def test_a_changed_epoch_count_reuses_what_came_before(copied: Any) -> None:
    again = copied("run", "digits", "--set", "training.epochs=12")
    assert again.returncode == 0, again.stderr
    for stage in ("ingest data", "check data", "prepare data"):
        assert f"= {stage}" in again.stdout
    assert "✓ train model" in again.stdout
    assert [name for name, *_ in copied.registry()] == ["digits", "digits"]
    run = copied.runs("digits")[0]
    assert run.data.tags["mlflow.runName"] == "digits: configuration changed"
    assert "champion v1" in again.stdout
    assert "<html" in artifact(copied, run, "checks/index.html").lower()


def test_force_trains_anyway(copied: Any) -> None:
    again = copied("run", "digits", "--force", "--set", "training.epochs=12")
    assert again.returncode == 0, again.stderr
    assert "✓ train model" in again.stdout
    assert copied.runs("digits")[0].data.tags["mlflow.runName"] == "digits: forced"


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param("prepare data", marks=pytest.mark.slow),
        pytest.param("train model", marks=pytest.mark.slow),
        pytest.param("register model", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_was_killed_goes_on_from_there(stage: str, roundhouse: Any) -> None:
    change = ("--set", "training.epochs=6")
    process = roundhouse.start("run", "digits", *change)
    for line in process.stdout:
        if f"✓ {stage}" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    again = roundhouse("run", "digits", *change)
    assert again.returncode == 0, again.stderr
    if stage != "register model":
        assert f"= {stage}" in again.stdout
    assert [(name, number) for name, number, _ in roundhouse.registry()] == [("digits", 1)]
    assert [run.info.status for run in roundhouse.runs("digits")] == ["FINISHED"]


def test_an_interrupted_training_goes_on_at_its_epoch(roundhouse: Any) -> None:
    change = ("--set", "training.epochs=40", "--set", "training.patience=0")
    process = roundhouse.start("run", "digits", *change)
    for line in process.stdout:
        if "epoch 10/40" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    again = roundhouse("run", "digits", *change)
    assert again.returncode == 0, again.stderr
    assert "epoch 5/40" not in again.stdout
    assert "epoch 40/40" in again.stdout
    history = roundhouse.client.get_metric_history(roundhouse.runs("digits")[0].info.run_id, "loss")
    assert sorted({point.step for point in history}) == list(range(1, 41))


def test_ctrl_c_is_no_error_of_ours(roundhouse: Any) -> None:
    """As a terminal does it: every process of the group is interrupted, the server's too."""
    process = roundhouse.start("run", "digits", "--set", "training.epochs=2000", wrapper=["setsid"])
    for line in process.stdout:
        if "epoch 3/" in line:
            os.killpg(process.pid, signal.SIGINT)
            break
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted. Run the same command again" in error
    assert "Traceback" not in error
    assert roundhouse.runs("digits")[0].info.status == "KILLED"
    database = sqlite3.connect(roundhouse.home / "prefect" / "prefect.db")
    ((state,),) = database.execute("select state_type from flow_run").fetchall()
    assert state in {"CRASHED", "CANCELLED", "FAILED"}


def test_two_commands_at_once_train_once(roundhouse: Any) -> None:
    """On a fresh home, where both would make the databases."""
    change = ("--set", "training.epochs=2", "--set", "gate.minimum=null")
    both = [roundhouse.start("run", "digits", *change) for _ in range(2)]
    said = [process.communicate(timeout=180) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("waiting for it to end" in out for out, _ in said) == 1
    assert sum("up to date: champion v1" in out for out, _ in said) == 1
    assert roundhouse.registry() == [("digits", 1, {"champion": 1, "challenger": 1})]


def artifact(command: Any, run: Any, path: str) -> str:
    from mlflow.artifacts import download_artifacts

    uri = f"{run.info.artifact_uri}/{path}"
    return Path(download_artifacts(artifact_uri=uri)).read_text()
