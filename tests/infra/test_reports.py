"""What `roundhouse status` and `roundhouse list` show, over runs as MLflow keeps them."""

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from infra.pipelines import Pipeline, load_pipelines
from infra.presence import Stack, write_record
from infra.reports import show_pipelines, show_status, status_of
from tasks import processes, tracking
from tasks.errors import ServiceError
from tasks.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, mlflow_database: Path) -> Settings:
    shutil.copyfile(mlflow_database, tmp_path / "mlflow.db")
    return Settings(home=tmp_path)


@pytest.fixture
def record(settings: Settings) -> Callable[..., None]:
    """Keeps a run of the pipeline `digits`: (status, started so many seconds ago, **tags)."""
    client = tracking.client(settings.mlflow_uri)
    experiment = client.create_experiment("digits")

    def keep(status: str, seconds: float = 0, **tags: str) -> None:
        started = int((time.time() - seconds) * 1000)
        tags = {f"roundhouse.{name}": value for name, value in tags.items()}
        run = client.create_run(experiment, start_time=started, tags=tags)
        if status != "RUNNING":
            client.set_terminated(run.info.run_id, status)

    return keep


def shown(show: Callable[..., None], *arguments: Any) -> str:
    console = Console(file=io.StringIO(), width=200)
    show(console, *arguments)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def status(settings: Settings) -> str:
    pipelines = load_pipelines(settings.pipelines)
    return shown(show_status, {"digits": pipelines["digits"]}, settings)


@pytest.mark.parametrize("reason", ["[missing/TotalCharges] 100 of 400", "[/a] is no folder"])
def test_a_reason_is_shown_as_it_is(record: Any, settings: Settings, reason: str) -> None:
    record("FAILED", reason=reason)
    assert f"failed: {reason}" in status(settings)


def test_of_a_long_reason_the_first_line_is_shown(record: Any, settings: Settings) -> None:
    record("FAILED", reason="2 of 9 checks failed:\n - one\n - two")
    assert status(settings).rstrip().endswith("failed: 2 of 9 checks failed:")


def test_a_run_that_was_killed_says_so(record: Any, settings: Settings) -> None:
    record("KILLED", ended="its process ended without a word")
    assert "killed: its process ended without a word" in status(settings)


def test_a_failure_without_a_reason_is_a_word(record: Any, settings: Settings) -> None:
    record("FAILED")
    assert status_of("digits", "accuracy", settings)[-1] == "failed"


@pytest.mark.parametrize(("promoted", "word"), [("true", "promoted"), ("false", "not promoted")])
def test_a_finished_run_says_what_came_of_it(
    record: Any, settings: Settings, promoted: str, word: str
) -> None:
    record("FINISHED", promoted=promoted)
    assert status_of("digits", "accuracy", settings)[-1] == f"finished, {word}"


def test_a_run_whose_process_is_there_is_still_running(record: Any, settings: Settings) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    host = processes.this_process().rpartition(":")[0]
    record("RUNNING", process=f"{host}:{process.pid}")
    assert status_of("digits", "accuracy", settings)[-1] == "still running"
    process.communicate()
    assert status_of("digits", "accuracy", settings)[-1] == "its process is gone"


def test_of_a_run_on_another_machine_both_is_said(record: Any, settings: Settings) -> None:
    record("RUNNING", process=f"elsewhere:{os.getpid()}")
    ended = status_of("digits", "accuracy", settings)[-1]
    assert ended == "still running on elsewhere, or its process there is gone"


@pytest.mark.parametrize(
    ("seconds", "ago"),
    [(0, "0 min ago"), (600, "10 min ago"), (7300, "2 h ago"), (4e5, "4 days ago")],
)
def test_an_age_is_in_the_unit_a_person_would_use(
    record: Any, settings: Settings, seconds: float, ago: str
) -> None:
    record("FINISHED", seconds)
    assert status_of("digits", "accuracy", settings)[-2] == ago


def test_the_newest_run_counts(record: Any, settings: Settings) -> None:
    record("FINISHED", 9000)
    record("FAILED", 60, reason="the newer")
    record("FINISHED", 8000)
    assert status_of("digits", "accuracy", settings)[-1] == "failed: the newer"


def test_a_pipeline_that_never_ran_has_nothing_to_show(settings: Settings) -> None:
    assert status_of("digits", "accuracy", settings) == ("digits", "none", "", "", "never", "")


def test_a_description_is_shown_as_it_is() -> None:
    def pipelines(**parameters: Any) -> Mapping[str, Pipeline]:
        return {"x": Pipeline("x", "for [/b] and [red]", {"pipeline": "x", **parameters}, ())}

    text = shown(show_pipelines, pipelines(ingestion={"dataset": "digits"}))
    assert "for [/b] and [red]" in text
    assert "none" in text


def test_a_server_that_the_stack_is_starting_again_is_said_to_come_back(tmp_path: Path) -> None:
    gone = "http://127.0.0.1:9"
    settings = Settings(home=tmp_path).model_copy(update={"tracking_uri": gone})
    with pytest.raises(ServiceError, match="Start it, or correct ROUNDHOUSE_TRACKING_URI"):
        status(settings)
    write_record(settings, Stack(os.getpid(), "http://127.0.0.1:8", gone), {})
    with pytest.raises(ServiceError, match=r"is starting it again.*mlflow-server\.log") as raised:
        status(settings)
    assert "ROUNDHOUSE_TRACKING_URI" not in str(raised.value)
