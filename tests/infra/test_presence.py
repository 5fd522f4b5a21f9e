"""Whether a stack serves a home: the record that it keeps, and who it is believed to be."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from infra.presence import (
    RECORD,
    Stack,
    drop_record,
    find_stack,
    joined,
    write_record,
)
from tasks.errors import ConfigError
from tasks.settings import Settings

PREFECT, MLFLOW = "http://127.0.0.1:4200", "http://127.0.0.1:5000"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def running(*, answers: bool = True) -> Stack:
    return Stack(os.getpid(), PREFECT, MLFLOW, answers)


def test_a_running_stack_is_found_and_joined(settings: Settings) -> None:
    write_record(settings, running(), {})
    assert find_stack(settings) == running()
    found = joined(settings)
    assert (found.prefect_api_url, found.tracking_uri) == (f"{PREFECT}/api", MLFLOW)


def test_without_a_stack_the_settings_stay_as_they_are(settings: Settings) -> None:
    assert joined(settings) is settings
    write_record(settings, running(), {})
    drop_record(settings)
    assert joined(settings) is settings


def test_addresses_of_the_user_go_first(settings: Settings) -> None:
    write_record(settings, running(), {})
    own = settings.model_copy(update={"tracking_uri": "https://mlflow.example.org"})
    assert joined(own).tracking_uri == "https://mlflow.example.org"
    assert joined(own).prefect_api_url == f"{PREFECT}/api"


def test_a_stack_that_was_killed_is_none(settings: Settings) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    write_record(settings, Stack(process.pid, PREFECT, MLFLOW), {})
    assert find_stack(settings) is not None
    process.communicate()
    assert find_stack(settings) is None


def test_another_process_with_the_number_of_a_killed_stack_is_none(settings: Settings) -> None:
    write_record(settings, running(), {})
    path = settings.home_folder / RECORD
    record = json.loads(path.read_text())
    record["process"]["created"] -= 3600
    path.write_text(json.dumps(record))
    assert find_stack(settings) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"process": 3}'])
def test_a_record_that_nobody_can_read_is_none(settings: Settings, content: str) -> None:
    (settings.home_folder / RECORD).write_text(content)
    assert joined(settings) is settings


def test_a_stack_that_is_starting_is_waited_for(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    write_record(settings, Stack(process.pid, PREFECT, MLFLOW, answers=False), {})
    ready = Stack(process.pid, PREFECT, MLFLOW)
    timer = threading.Timer(0.5, lambda: write_record(settings, ready, {}))
    timer.start()
    assert joined(settings).tracking_uri == MLFLOW
    said = f"`roundhouse up` (process {process.pid}) is starting; waiting for its servers.\n"
    assert capsys.readouterr().err == said
    timer.join()
    process.communicate()


def test_a_stack_that_ends_while_it_starts_is_not_waited_for(settings: Settings) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5)"])
    write_record(settings, Stack(process.pid, PREFECT, MLFLOW, answers=False), {})
    threading.Timer(0.1, process.wait).start()
    assert joined(settings) is settings


@pytest.mark.parametrize(
    ("setting", "address"),
    [("prefect_database", "prefect_api_url"), ("mlflow_database", "tracking_uri")],
)
def test_databases_elsewhere_need_the_stack_or_addresses(
    settings: Settings, setting: str, address: str
) -> None:
    database = Settings(home=settings.home, **{setting: "postgresql://user:pass@host/name"})
    with pytest.raises(ConfigError, match=f"ROUNDHOUSE_{setting.upper()} is set, but") as found:
        joined(database)
    assert "pass@" not in str(found.value)
    assert joined(database.model_copy(update={address: "http://host"}))
    write_record(settings, running(), {})
    assert joined(database).tracking_uri
