"""The training stage as a run of its own, on another worker than the rest of its run."""

import importlib.util
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate

from flows.training_job import train_apart
from tasks import apart, tracking
from tasks.handoffs import RunContext
from tasks.storage import Storage
from tasks.training import train_model

SECONDS = 120
POOL = "gpu-machines"
APART = {"ROUNDHOUSE_TRAINING_JOB": "{}"}

_spec = importlib.util.spec_from_file_location(
    "trainings", Path(__file__).parent.parent / "tasks" / "test_training.py"
)
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)


def test_what_is_trained_apart_is_what_would_have_been_trained(
    context: RunContext, client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The other machine is this process; what is handed over goes through JSON both ways."""
    monkeypatch.setenv("ROUNDHOUSE_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("ROUNDHOUSE_STORAGE", context.storage_uri)
    monkeypatch.setenv("ROUNDHOUSE_TRACKING_URI", context.mlflow_uri)
    asked: list[Any] = []

    def elsewhere(key: str, parameters: Any, job_variables: Any, storage: Storage) -> str:
        asked.append(job_variables)
        train_apart(**json.loads(json.dumps(parameters)), record="apart/trial")
        assert context.mlflow_uri not in json.dumps(parameters)
        return str(storage.read_record("apart/trial"))

    monkeypatch.setattr(apart, "done_apart", elsewhere)
    data = made.prepared(context)
    moved = context.model_copy(update={"training_job": '{"gpus": 1}'})
    found = train_model.fn(moved, data, made.MODEL, made.TRAINING)
    assert asked == [{"gpus": 1}]
    assert made.logged_epochs(context, "loss") == [1, 2, 3, 4]
    # nothing of it depends on where it was trained, so it is recalled on either machine
    again = train_model.fn(context, data, made.MODEL, made.TRAINING)
    assert (again.network, again.history) == (found.network, found.history)
    assert len(asked) == 1


@pytest.fixture(scope="module")
def machines(stack: Any) -> Iterator["subprocess.Popen[str]"]:
    """A worker that takes trainings only, beside that of the stack."""
    done = stack.command("deploy", "training", "--pool", POOL)
    assert done.returncode == 0, done.stderr
    process = stack.command.start("worker", "--pool", POOL)
    yield process
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    stack.command("deploy", "training", "--pool", "local")


def start(stack: Any, **parameters: Any) -> str:
    """Starts the pipeline `digits` as one that trains on another machine."""
    deployment = stack.ask("deployments/name/train/digits")
    given = {k: {**deployment["parameters"].get(k, {}), **v} for k, v in parameters.items()}
    body = {"parameters": {"force": True, **given}, "job_variables": {"env": APART}}
    return str(stack.ask(f"deployments/{deployment['id']}/create_flow_run", body)["id"])


def training_of(stack: Any, number: str) -> Any:
    """The run that trained for another one."""
    parent = {"parent_flow_run_id": {"any_": [number]}}
    deadline = time.monotonic() + SECONDS
    while not (found := stack.ask("flow_runs/filter", {"flow_runs": parent})):
        assert time.monotonic() < deadline, stack.states(number)
        time.sleep(0.2)
    [run] = found
    return run


@pytest.mark.slow
def test_another_worker_trains_and_the_run_lands_a_champion(stack: Any, machines: Any) -> None:
    number = start(stack, training={"epochs": 3})
    run = stack.ended(number)
    assert run["state_name"] == "Completed", run["state"]["message"]
    training = training_of(stack, number)
    assert (training["state_name"], training["work_pool_name"]) == ("Completed", POOL)
    logs = stack.ask("logs/filter", {"logs": {"flow_run_id": {"any_": [training["id"]]}}})
    assert any("epoch 3 of 3" in line["message"] for line in logs)
    record = run["labels"]["roundhouse.mlflow"].split("/runs/")[1].split("?")[0]
    context = RunContext(
        pipeline="digits", run_id=record, experiment_id="", mlflow_uri=stack.mlflow,
        mlflow_pages="", storage_uri="",
    )  # fmt: skip
    assert made.logged_epochs(context, "loss") == [1, 2, 3]
    versions = tracking.client(stack.mlflow).search_model_versions(f"run_id = '{record}'")
    assert len(versions) == 1
    # a second run of the same recalls what was trained, whoever trained it
    stack.ended(again := start(stack, training={"epochs": 3}))
    assert stack.run(again)["state_name"] == "Completed"


@pytest.mark.slow
def test_a_pool_of_one_place_is_enough_for_a_run_and_its_training(stack: Any) -> None:
    stack.command("deploy", "training", "--pool", "local")
    client = SyncPrefectClient(api=f"{stack.prefect}/api")
    client.update_work_pool("local", WorkPoolUpdate(concurrency_limit=1))
    try:
        number = start(stack, training={"epochs": 2})
        run = stack.ended(number)
        assert run["state_name"] == "Completed", run["state"]["message"]
        assert training_of(stack, number)["work_pool_name"] == "local"
    finally:
        client.update_work_pool("local", WorkPoolUpdate(concurrency_limit=None))
        stack.command("deploy", "training", "--pool", POOL)


@pytest.mark.slow
def test_a_training_that_fails_ends_its_run_with_its_sentence(stack: Any, machines: Any) -> None:
    # each step multiplies the weights by more than they can bear
    number = start(
        stack, training={"epochs": 9, "learning_rate": 10, "weight_decay": 0.9, "patience": 0}
    )
    run = stack.ended(number)
    assert run["state_name"] == "Failed"
    assert "TrainingDiverged: Training was stopped: " in run["state"]["message"]
    assert training_of(stack, number)["state"]["message"] == run["state"]["message"]


@pytest.mark.slow
def test_a_run_that_is_cancelled_takes_its_training_along(stack: Any, machines: Any) -> None:
    number = start(stack, training={"epochs": 10_000, "patience": 0})
    training = training_of(stack, number)
    deadline = time.monotonic() + SECONDS
    while "Running" not in stack.states(training["id"]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    began = time.monotonic()
    cancelling = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    stack.ask(f"flow_runs/{number}/set_state", cancelling)
    assert stack.ended(training["id"])["state_name"] == "Cancelled"
    assert stack.ended(number)["state_name"] == "Cancelled"
    assert time.monotonic() - began < 60
