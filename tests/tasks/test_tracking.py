"""MLflow runs: opened, gone on with, ended, and what is logged to them."""

import http.server
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks import processes, tracking
from tasks.errors import DataCheckFailed, ServiceError
from tasks.handoffs import RunContext
from tasks.judgement import Hardware, TrainedModel
from tasks.storage import Storage

HOST = processes.this_process().rpartition(":")[0]


@pytest.fixture
def run_of(context: RunContext) -> Callable[..., Any]:
    """The run as MLflow keeps it."""
    client = tracking.client(context.mlflow_uri)
    return lambda run_id=context.run_id: client.get_run(run_id)


@pytest.fixture
def open_run(context: RunContext) -> Callable[..., str]:
    """Opens a run: (process, fingerprint) -> its id."""

    def make(process: str = processes.this_process(), fingerprint: str = "same") -> str:
        tags = {processes.PROCESS_TAG: process, "roundhouse.fingerprint": fingerprint}
        uri, place = context.mlflow_uri, context.experiment_id
        return tracking.open_run(uri, place, "trial: forced", {"training.epochs": "3"}, tags)

    return make


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server that is well, for whoever says that they are user `me`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Authorization") == "Basic bWU6aHVzaA=="
            self.send_response(200 if self.path == "/health" and asked else 401)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{service.server_address[1]}"
        service.shutdown()


def gone() -> str:
    """A process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return f"{HOST}:{process.pid}"


def test_a_server_that_is_well_is_let_pass(server: str) -> None:
    tracking.require_answer(f"http://me:hush@{server}", 5)
    tracking.require_answer("sqlite:///no/such/file.db", 5)


def test_a_server_that_is_not_well_is_named_without_its_password(server: str) -> None:
    with pytest.raises(ServiceError, match=f"MLflow server at http://{server} does not") as caught:
        tracking.require_answer(f"http://me:wrong@{server}", 5)
    assert "wrong" not in str(caught.value)


def test_an_experiment_is_made_once(context: RunContext, tmp_path: Path) -> None:
    made = [tracking.open_experiment(context.mlflow_uri, "new", str(tmp_path)) for _ in range(2)]
    assert made[0] == made[1] != context.experiment_id
    experiment = tracking.client(context.mlflow_uri).get_experiment(made[0])
    assert experiment.artifact_location == (tmp_path / "new").as_uri()


def test_a_run_whose_process_is_gone_is_gone_on_with(open_run: Any, run_of: Any) -> None:
    first = open_run(process=gone())
    assert open_run() == first
    assert run_of(first).data.tags[processes.PROCESS_TAG] == processes.this_process()
    assert run_of(first).data.params == {"training.epochs": "3"}


def test_parameters_that_a_killed_run_did_not_log_are_logged_by_the_next(
    context: RunContext, open_run: Any, run_of: Any
) -> None:
    client = tracking.client(context.mlflow_uri)
    tags = {processes.PROCESS_TAG: gone(), "roundhouse.fingerprint": "same"}
    killed = client.create_run(context.experiment_id, tags=tags).info.run_id
    assert open_run() == killed
    assert run_of(killed).data.params == {"training.epochs": "3"}


@pytest.fixture
def attempt(context: RunContext) -> Callable[..., str]:
    """Opens a run for a Prefect run on a machine: (host, flow run) -> its id."""

    def make(host: str, flow_run: str = "one flow run") -> str:
        tags = {
            processes.PROCESS_TAG: f"{host}:1", processes.FLOW_RUN_TAG: flow_run,
            "roundhouse.fingerprint": "same",
        }  # fmt: skip
        return tracking.open_run(context.mlflow_uri, context.experiment_id, "trial", {}, tags)

    return make


def test_an_attempt_of_the_same_flow_run_on_another_machine_is_gone_on_with(
    attempt: Any, run_of: Any
) -> None:
    first = attempt("one machine")
    assert attempt("another") == first
    assert run_of(first).data.tags[processes.PROCESS_TAG] == "another:1"


def test_an_attempt_that_was_told_to_end_is_gone_on_with(
    context: RunContext, attempt: Any, run_of: Any
) -> None:
    first = attempt("one machine")
    tracking.fail_run(context.mlflow_uri, first, KeyboardInterrupt("evicted"))
    assert attempt("another", "another flow run") != first
    assert attempt("another") == first
    assert run_of(first).info.status == "RUNNING"
    # nothing says any more that it failed
    assert not {tracking.REASON_TAG, tracking.NOTE_TAG} & run_of(first).data.tags.keys()


def test_a_run_of_another_fingerprint_whose_process_is_gone_is_closed(
    open_run: Any, run_of: Any
) -> None:
    first = open_run(process=gone())
    assert open_run(fingerprint="other") != first
    assert run_of(first).info.status == "KILLED"
    assert run_of(first).data.tags[tracking.ENDED_TAG] == "its process ended without a word"


@pytest.mark.parametrize("process", [f"{HOST}:{os.getppid()}", "elsewhere:1", "elsewhere:"])
def test_a_run_whose_process_may_live_is_left_alone(
    open_run: Any, run_of: Any, process: str
) -> None:
    first = open_run(process=process)
    assert open_run() != first
    assert run_of(first).info.status == "RUNNING"


def test_a_recorded_run_ends_finished_and_with_the_load_of_the_machine(
    context: RunContext, run_of: Any
) -> None:
    with tracking.recorded(context):
        pass
    assert run_of().info.status == "FINISHED"
    assert any(name.startswith("system/cpu") for name in run_of().data.metrics)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (DataCheckFailed("2 of 9 checks failed"), "FAILED", "2 of 9 checks failed"),
        (ZeroDivisionError("by 0"), "FAILED", "ZeroDivisionError: by 0"),
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt: "),
    ],
)
def test_a_run_that_breaks_off_says_why(
    context: RunContext, run_of: Any, error: BaseException, status: str, reason: str
) -> None:
    with pytest.raises(type(error)), tracking.recorded(context):
        raise error
    assert run_of().info.status == status
    assert run_of().data.tags[tracking.REASON_TAG] == reason
    assert run_of().data.tags["mlflow.note.content"] == f"**Failed.** {reason}"


def test_a_failure_that_cannot_be_recorded_is_logged(
    context: RunContext, caplog: pytest.LogCaptureFixture
) -> None:
    tracking.fail_run(context.mlflow_uri, "no-such-run", ValueError("x"))
    assert "The failure of run no-such-run could not be recorded" in caplog.text


def test_of_a_handoff_figures_tags_files_and_itself_are_logged(
    context: RunContext, run_of: Any
) -> None:
    storage = Storage(context.storage_uri)
    trained = TrainedModel(
        network=storage.put_bytes(b"network"), parameters=7,
        history={"loss": (0.7, float("nan"))}, best_epoch=1, resumed_from=0, seconds=1.0,
        rows_per_second=10.0, seed=5, summary=storage.put_bytes(b"one layer", ".txt"),
        hardware=Hardware(backend="b", devices=("CPU",), precision="float32", cpu_count=2),
    )  # fmt: skip
    tracking.log_handoff(context, "train_model", trained, recalled=True)
    assert run_of().data.metrics["training/parameters"] == 7
    assert run_of().data.tags["roundhouse.seed"] == "5"
    assert tracking.logged_epochs(context, "loss") == {1}
    client = tracking.client(context.mlflow_uri)
    path = client.download_artifacts(context.run_id, "handoffs/train_model.json")
    assert TrainedModel.model_validate_json(Path(path).read_text()).summary == trained.summary
    path = client.download_artifacts(context.run_id, "network.txt")
    assert Path(path).read_text() == "one layer"


def test_files_and_texts_become_artefacts(context: RunContext) -> None:
    file = Storage(context.storage_uri).put_bytes(b"stored")
    tracking.log_files(context, {"a/stored.txt": file, "said.md": "said"})
    client = tracking.client(context.mlflow_uri)
    for name, text in (("a/stored.txt", "stored"), ("said.md", "said")):
        assert Path(client.download_artifacts(context.run_id, name)).read_text() == text


def test_only_the_stored_files_of_a_failure_are_kept(context: RunContext) -> None:
    client = tracking.client(context.mlflow_uri)
    tracking.log_evidence(context, DataCheckFailed("without files", {"count": 3}))
    assert client.list_artifacts(context.run_id) == []
    file = Storage(context.storage_uri).put_bytes(b"report")
    tracking.log_evidence(context, DataCheckFailed("with one", {"report.json": file, "count": 3}))
    assert [found.path for found in client.list_artifacts(context.run_id)] == ["report.json"]


def test_of_an_epoch_the_finite_figures_are_logged(context: RunContext, run_of: Any) -> None:
    tracking.log_epoch(context, 4, {"loss": 0.5, "val_loss": float("inf")})
    assert tracking.logged_epochs(context, "loss") == {4}
    assert "val_loss" not in run_of().data.metrics


def test_seconds_and_texts_are_on_the_runs_page(context: RunContext, run_of: Any) -> None:
    tracking.log_stage_seconds(context, "train_model", 1.5)
    tracking.describe_run(context, "# How it went")
    assert run_of().data.metrics["seconds/train_model"] == 1.5
    assert run_of().data.tags["mlflow.note.content"] == "# How it went"


def test_mlflow_itself_stays_quiet(context: RunContext) -> None:
    tracking.client(context.mlflow_uri)
    assert not logging.getLogger("mlflow").isEnabledFor(logging.INFO)
