"""`roundhouse up`: the real servers and the real worker over a home in which something was run."""

import contextlib
import json
import re
import shutil
import signal
import sqlite3
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.presence import read_record
from tasks.settings import Settings

SECONDS = 150


def until(reached: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What `reached` gives, once it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, psutil.Error):
            if found := reached():
                return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=5)[1]


@pytest.fixture(scope="module")
def home(first_digits: Any, tmp_path_factory: Any) -> Path:
    """A copy of the home after a first run; its servers may write to it."""
    copy: Path = tmp_path_factory.mktemp("served") / "home"
    shutil.copytree(first_digits.home, copy)
    return copy


@pytest.fixture(scope="module")
def stack(stack_at: Callable[..., Any], home: Path) -> Any:
    """`nohup roundhouse up`, once it is ready."""
    started = stack_at(home, "nohup", ready=False)
    until(lambda: len(started.children()) >= 2)
    started.process.send_signal(signal.SIGHUP)
    started.wait_for("Ready after")
    return started


def training_at(stack: Any, epoch: int) -> None:
    """Returns when the newest run's training has done an epoch."""
    log = stack.home / "logs" / "worker.log"
    before = log.stat().st_size

    def has_done() -> bool:
        with log.open() as file:
            file.seek(before)
            return re.search(rf"epoch {epoch} of ", file.read()) is not None

    until(has_done)


def test_it_shows_the_addresses_the_worker_and_what_is_deployed(stack: Any) -> None:
    shown = re.sub(r"\d+\.\d s", "0.0 s", stack.shown)
    assert f"✓ Prefect {stack.prefect} (0.0 s)\n" in shown
    assert f"✓ MLflow  {stack.mlflow} (0.0 s)\n" in shown
    assert "✓ Worker  polls the pool local, 2 runs at once (0.0 s)\n" in shown
    assert "\ndigits " in shown.partition("✓ Worker")[2]
    assert shown.endswith("Ready after 0.0 s. Ctrl-C stops all of it.\n")
    for address in (stack.prefect, stack.mlflow):
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert "<html" in answer.read().decode().lower()


def test_it_serves_what_was_run_before(stack: Any) -> None:
    names = {run["name"] for run in stack.runs()}
    assert "digits: first training" in names
    assert "digits" in experiments(stack)


def test_a_second_one_says_where_the_first_is(stack: Any, stack_at: Callable[..., Any]) -> None:
    second = stack_at(stack.home, ready=False)
    assert second.process.wait(timeout=SECONDS) == 0
    assert second.shown == (
        f"`roundhouse up` (process {stack.process.pid}) serves this home:\n"
        f"  Prefect {stack.prefect}\n"
        f"  MLflow  {stack.mlflow}\n"
    )


@pytest.mark.parametrize(
    ("setting", "name"),
    [("ROUNDHOUSE_PREFECT_PORT", "Prefect"), ("ROUNDHOUSE_MLFLOW_PORT", "MLflow")],
)
def test_a_taken_port_is_named_with_its_setting(
    stack: Any, roundhouse: Any, setting: str, name: str
) -> None:
    taken = stack.command.environment[setting]
    done = roundhouse("up", **{setting: taken})
    assert done.returncode == 1
    assert done.stderr.startswith(f"✗ Port {taken} is taken (Address already in use); the {name}")
    assert f"or set {setting} to another." in done.stderr
    assert not list((roundhouse.home / "logs").iterdir())


def test_other_servers_in_the_settings_are_refused(roundhouse: Any) -> None:
    done = roundhouse("up", PREFECT_API_URL="http://elsewhere/api")
    assert done.returncode == 1
    assert done.stderr.startswith("✗ ROUNDHOUSE_PREFECT_API_URL names another server than the one")


def test_while_it_is_up_a_command_uses_its_servers(stack: Any, roundhouse_at: Any) -> None:
    done = roundhouse_at(stack.home)("run", "digits", "--force")
    assert (done.returncode, done.stderr) == (0, "")
    found = {run["name"]: run["state_type"] for run in stack.runs()}
    assert found["digits: forced"] == "COMPLETED"
    assert "v1" in roundhouse_at(stack.home)("status").stdout


def test_a_run_of_the_worker_logs_to_the_pages_and_to_the_workers_log(stack: Any) -> None:
    run_id = stack.trigger("digits", force=True)
    assert stack.ended(run_id)["state_type"] == "COMPLETED"
    wanted = {"logs": {"flow_run_id": {"any_": [run_id]}}}
    lines = until(
        lambda: [
            line
            for entry in stack.ask("logs/filter", wanted)
            if (line := entry["message"]).startswith("epoch 20 of 20")
        ]
    )
    assert lines[0] in (stack.home / "logs" / "worker.log").read_text()


def test_a_run_at_work_when_it_is_stopped_goes_on_at_the_next_start(
    stack: Any, stack_at: Callable[..., Any]
) -> None:
    before = versions(stack)
    # forced, it is to begin anew what others did, and not what it did itself
    run_id = stack.trigger("digits", force=True, training={"epochs": 100, "patience": 0})
    training_at(stack, 20)
    processes = [*stack.children(), *run_processes(run_id)]
    assert len(processes) >= 4
    # Ctrl-C
    assert stack.stop(signal.SIGINT) == 0
    assert stack.shown.endswith("\nStopping.\n")
    assert alive(processes) == []
    assert read_record(Settings(home=stack.home)) == {}
    again = stack_at(stack.home)
    assert again.ended(run_id)["state_type"] == "COMPLETED"
    assert "AwaitingRetry" in again.states(run_id)
    assert not {"Crashed", "Failed"} & set(again.states(run_id))
    assert versions(again) == before + 1
    # its training went on where it was, and did not begin again
    log = (again.home / "logs" / "worker.log").read_text()
    assert len(re.findall("epoch 1 of 100:", log)) == 1
    assert mlflow_runs(again.home, epochs="100") == ["FINISHED"]
    assert again.stop() == 0


def experiments(stack: Any) -> set[str]:
    """The experiments that MLflow's server knows."""
    place = f"{stack.mlflow}/api/2.0/mlflow/experiments/search"
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(place, b'{"max_results": 10}', headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return {experiment["name"] for experiment in json.load(answer)["experiments"]}


def versions(stack: Any) -> int:
    return len(stack.command.registry())


def run_processes(run_id: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("PREFECT__FLOW_RUN_ID") == run_id:
                found.append(process)
    return found


def mlflow_runs(home: Path, epochs: str) -> list[str]:
    """How the MLflow runs with a number of epochs ended."""
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as database:
        found = database.execute(
            "SELECT status FROM runs JOIN params USING (run_uuid) WHERE key = ? AND value = ?",
            ("training.epochs", epochs),
        )
        return [status for (status,) in found]


@pytest.mark.slow
def test_a_killed_one_leaves_nothing_for_the_next(stack: Any, stack_at: Callable[..., Any]) -> None:
    stack.stop()
    first = stack_at(stack.home)
    run_id = first.trigger("digits", training={"epochs": 110, "patience": 0})
    training_at(first, 20)
    left = [first.part(name) for name in ("Prefect", "MLflow", "Worker")] + run_processes(run_id)
    first.process.kill()
    first.process.wait()
    second = stack_at(stack.home, ready=False)
    second.wait_for("! Stopping what a killed `roundhouse up` left: Worker, Prefect, MLflow.\n")
    second.wait_for("Ready after")
    assert alive(left) == []
    assert second.ended(run_id)["state_type"] == "COMPLETED"
    assert mlflow_runs(second.home, epochs="110") == ["FINISHED"]
    assert second.stop() == 0


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_kill_while_it_starts_stops_everything(
    stack_at: Callable[..., Any], tmp_path: Path, ending: signal.Signals
) -> None:
    # as a terminal starts it, also where nohup started the tests
    started = stack_at(tmp_path / "home", "env", "--default-signal=HUP", ready=False)
    until(lambda: len(started.children()) >= 2)
    servers = started.children()
    assert started.stop(ending) == 0
    assert started.shown == "Stopping.\n"
    assert alive(servers) == []


def test_a_server_that_cannot_start_is_said_with_its_log_and_all_is_stopped(
    stack_at: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mlflow.db").write_text("this is no database, whatever its name says")
    started = stack_at(tmp_path / "home", ready=False)
    until(lambda: len(started.children()) >= 2)
    servers = started.children()
    assert started.process.wait(timeout=SECONDS) == 1
    assert started.process.stderr is not None
    said = started.process.stderr.read()
    log = tmp_path / "home" / "logs" / "mlflow-server.log"
    assert said.startswith("✗ MLflow ended (with code 1) before it ever answered; expected it to")
    assert f"printed is in {log}" in said
    assert log.stat().st_size
    assert alive(servers) == []


def test_it_waits_for_a_run_that_is_at_work(stack_at: Callable[..., Any], tmp_path: Path) -> None:
    from filelock import FileLock

    home = tmp_path / "home"
    home.mkdir()
    with FileLock(home / "run.lock"):
        started = stack_at(home, ready=False)
        started.wait_for(f"A run is at work in {home}; waiting for it to end.\n")
        assert started.children() == []
    until(lambda: len(started.children()) >= 2)
    assert started.stop() == 0
