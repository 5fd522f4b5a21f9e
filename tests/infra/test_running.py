"""Who may work on a home at a time, and what a run does about a stack that is there or was."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock
from prefect import flow, runtime
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from rich.console import Console

from infra.presence import Stack, write_record
from infra.running import alone, run_flow
from tasks.config import IngestionConfig, PipelineConfig
from tasks.settings import Settings

MLFLOW = "http://127.0.0.1:5000"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_run_that_waits_joins_a_stack_that_is_started(
    settings: Settings, console: Console
) -> None:
    stack = Stack(os.getpid(), "http://127.0.0.1:4200", MLFLOW)
    with FileLock(settings.home_folder / "run.lock"):
        timer = threading.Timer(0.7, lambda: write_record(settings, stack, {}))
        timer.start()
        with alone("digits", settings, console) as found:
            assert found.tracking_uri == MLFLOW
        timer.join()
    assert shown(console).startswith("Another run is at work in ")


def test_beside_a_stack_only_runs_of_the_same_pipeline_wait(
    settings: Settings, console: Console
) -> None:
    write_record(settings, Stack(os.getpid(), "http://127.0.0.1:4200", MLFLOW), {})
    with alone("digits", settings, console), alone("churn", settings, console):
        assert shown(console) == ""
        assert FileLock(settings.home_folder / "run.lock").acquire(timeout=0)


def test_a_run_stops_what_a_killed_stack_left(settings: Settings, console: Console) -> None:
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    part, up = (subprocess.Popen(command, start_new_session=True) for _ in range(2))
    write_record(settings, Stack(up.pid, "http://127.0.0.1:4200", MLFLOW), {"Prefect": part.pid})
    up.kill()
    up.wait()
    with alone("digits", settings, console) as found:
        assert found == settings
        assert not psutil.pid_exists(part.pid)
    assert shown(console) == "! Stopping what a killed `roundhouse up` left: Prefect.\n"


def test_a_run_beside_a_stack_can_be_found_when_its_process_is_gone(
    prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    @flow(name="train", persist_result=False)
    def train(pipeline: str, force: bool, **others: Any) -> None:
        seen.extend([runtime.flow_run.tags, get_current_settings().flows.heartbeat_frequency])

    monkeypatch.setattr("flows.training.train", train)
    config = PipelineConfig(pipeline="digits", ingestion=IngestionConfig(dataset="digits"))
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        run_flow(config, None, force=False)
    assert (set(seen[0]), seen[1]) == ({"roundhouse", "digits"}, 30)
