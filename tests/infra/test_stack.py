"""`roundhouse up`: the real servers and the real worker over a home in which something was run."""

import contextlib
import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.presence import read_record
from tasks.settings import Settings

SECONDS = 150
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def free_ports() -> dict[str, str]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return {
            "ROUNDHOUSE_PREFECT_PORT": str(one.getsockname()[1]),
            "ROUNDHOUSE_MLFLOW_PORT": str(other.getsockname()[1]),
        }


def until(reached: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What `reached` gives, once it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, psutil.Error):
            if found := reached():
                return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")


def ask(address: str, **body: Any) -> Any:
    request = urllib.request.Request(
        address, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def read(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=20) as answer:
        return json.load(answer)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=5)[1]


class Up:
    """A `roundhouse up` on free ports."""

    def __init__(self, command: Any, *wrapper: str, **variables: str) -> None:
        self.home: Path = command.home
        self.variables = {**free_ports(), **variables}
        self._output = (self.home.parent / f"up-{time.monotonic_ns()}").open("w+")
        self.process: subprocess.Popen[str] = command.start(
            "up", wrapper=wrapper, stdout=self._output, **self.variables
        )
        port = self.variables.__getitem__
        self.prefect = f"http://127.0.0.1:{port('ROUNDHOUSE_PREFECT_PORT')}"
        self.mlflow = f"http://127.0.0.1:{port('ROUNDHOUSE_MLFLOW_PORT')}"
        self.api = f"{self.prefect}/api"

    @property
    def shown(self) -> str:
        return Path(self._output.name).read_text()

    def wait_for(self, text: str) -> str:
        until(lambda: text in self.shown or self.process.poll() is not None)
        assert text in self.shown
        return self.shown

    def part(self, name: str) -> psutil.Process:
        """A part's process, as the home's record has it."""
        described = until(lambda: read_record(Settings(home=self.home))["parts"].get(name))
        return psutil.Process(described["number"])

    def children(self) -> list[psutil.Process]:
        if self.process.poll() is not None:
            return []
        return psutil.Process(self.process.pid).children(recursive=True)

    def start_run(self, **parameters: Any) -> str:
        """Presses Run on the deployment digits, as the pages do; the run's id."""
        deployment = read(f"{self.api}/deployments/name/train/digits")
        parameters["training"] = {
            **deployment["parameters"]["training"], **parameters.get("training", {})
        }  # fmt: skip
        address = f"{self.api}/deployments/{deployment['id']}/create_flow_run"
        return str(ask(address, parameters=parameters)["id"])

    def run(self, run_id: str) -> Any:
        return read(f"{self.api}/flow_runs/{run_id}")

    def end_of(self, run_id: str) -> str:
        until(lambda: self.run(run_id)["state_type"] in ENDED)
        return str(self.run(run_id)["state_type"])

    def states(self, run_id: str) -> list[str]:
        found = read(f"{self.api}/flow_run_states/?flow_run_id={run_id}")
        return [state["name"] for state in found]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=SECONDS)


@pytest.fixture(scope="module")
def home(first_digits: Any, tmp_path_factory: Any) -> Path:
    """A copy of the home after a first run; its servers may write to it."""
    copy: Path = tmp_path_factory.mktemp("served") / "home"
    shutil.copytree(first_digits.home, copy)
    return copy


@pytest.fixture(scope="module")
def up(home: Path, roundhouse_at: Any) -> Iterator[Callable[..., Up]]:
    """Starts `roundhouse up` on free ports, and sees that none of it outlives the tests."""
    started: list[Up] = []

    def start(*wrapper: str, at: Path = home, **variables: str) -> Up:
        started.append(Up(roundhouse_at(at), *wrapper, **variables))
        return started[-1]

    yield start
    for one in started:
        for process in [*one.children(), one.process]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        one.process.wait()


@pytest.fixture(scope="module")
def stack(up: Callable[..., Up]) -> Up:
    """`nohup roundhouse up`, once it is ready."""
    started = up("nohup")
    until(lambda: len(started.children()) >= 2)
    started.process.send_signal(signal.SIGHUP)
    started.wait_for("Ready after")
    return started


def training_at(stack: Up, epoch: int) -> None:
    """Returns when the newest run's training has done an epoch."""
    log = stack.home / "logs" / "worker.log"
    before = log.stat().st_size

    def has_done() -> bool:
        with log.open() as file:
            file.seek(before)
            return re.search(rf"epoch {epoch} of ", file.read()) is not None

    until(has_done)


def test_it_shows_the_addresses_the_worker_and_what_is_deployed(stack: Up) -> None:
    shown = re.sub(r"\d+\.\d s", "0.0 s", stack.shown)
    assert f"✓ Prefect {stack.prefect} (0.0 s)\n" in shown
    assert f"✓ MLflow  {stack.mlflow} (0.0 s)\n" in shown
    assert "✓ Worker  polls the pool local, 2 runs at once (0.0 s)\n" in shown
    assert "\ndigits " in shown.partition("✓ Worker")[2]
    assert shown.endswith("Ready after 0.0 s. Ctrl-C stops all of it.\n")
    for address in (stack.prefect, stack.mlflow):
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert "<html" in answer.read().decode().lower()


def test_it_serves_what_was_run_before(stack: Up) -> None:
    names = {run["name"] for run in ask(f"{stack.api}/flow_runs/filter")}
    assert "digits: first training" in names
    found = ask(f"{stack.mlflow}/api/2.0/mlflow/experiments/search", max_results=10)
    assert "digits" in {experiment["name"] for experiment in found["experiments"]}


def test_a_second_one_says_where_the_first_is(stack: Up, up: Callable[..., Up]) -> None:
    second = up()
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
    stack: Up, roundhouse: Any, setting: str, name: str
) -> None:
    taken = stack.variables[setting]
    done = roundhouse("up", **{**free_ports(), setting: taken})
    assert done.returncode == 1
    assert done.stderr.startswith(f"✗ Port {taken} is taken (Address already in use); the {name}")
    assert f"or set {setting} to another." in done.stderr
    assert not list((roundhouse.home / "logs").iterdir())


def test_other_servers_in_the_settings_are_refused(roundhouse: Any) -> None:
    done = roundhouse("up", PREFECT_API_URL="http://elsewhere/api")
    assert done.returncode == 1
    assert done.stderr.startswith("✗ ROUNDHOUSE_PREFECT_API_URL names another server than the one")


def test_while_it_is_up_a_command_uses_its_servers(stack: Up, roundhouse_at: Any) -> None:
    done = roundhouse_at(stack.home)("run", "digits", "--force")
    assert (done.returncode, done.stderr) == (0, "")
    found = {run["name"]: run["state_type"] for run in ask(f"{stack.api}/flow_runs/filter")}
    assert found["digits: forced"] == "COMPLETED"
    assert "v1" in roundhouse_at(stack.home)("status").stdout


def test_a_run_of_the_worker_logs_to_the_pages_and_to_the_workers_log(stack: Up) -> None:
    run_id = stack.start_run(force=True)
    assert stack.end_of(run_id) == "COMPLETED"
    wanted = {"flow_run_id": {"any_": [run_id]}}
    lines = until(
        lambda: [
            line
            for entry in ask(f"{stack.api}/logs/filter", logs=wanted)
            if (line := entry["message"]).startswith("epoch 20 of 20")
        ]
    )
    assert lines[0] in (stack.home / "logs" / "worker.log").read_text()


@pytest.mark.slow
def test_parts_that_are_killed_in_a_run_come_back_and_the_run_ends(stack: Up) -> None:
    run_id = stack.start_run(training={"epochs": 90, "patience": 0})
    training_at(stack, 5)
    for name, file in (
        ("MLflow", "mlflow-server"),
        ("Prefect", "prefect-server"),
        ("Worker", "worker"),
    ):
        stack.part(name).kill()
        stack.wait_for(
            f"! {name} ended (killed by signal 9); starting it again in 2 s. "
            f"Its log: {stack.home / 'logs' / file}.log\n"
        )
        stack.wait_for(f"✓ {name} answers again.\n")
    assert stack.end_of(run_id) == "COMPLETED"
    assert mlflow_runs(stack.home, epochs="90") == ["FINISHED"]


def test_a_run_at_work_when_it_is_stopped_goes_on_at_the_next_start(
    stack: Up, up: Callable[..., Up]
) -> None:
    before = versions(stack)
    run_id = stack.start_run(training={"epochs": 100, "patience": 0})
    training_at(stack, 20)
    processes = [*stack.children(), *run_processes(run_id)]
    assert len(processes) >= 4
    # Ctrl-C
    assert stack.stop(signal.SIGINT) == 0
    assert stack.shown.endswith("\nStopping.\n")
    assert alive(processes) == []
    assert read_record(Settings(home=stack.home)) == {}
    again = up(**stack.variables)
    again.wait_for("Ready after")
    assert again.end_of(run_id) == "COMPLETED"
    assert "AwaitingRetry" in again.states(run_id)
    assert not {"Crashed", "Failed"} & set(again.states(run_id))
    assert versions(again) == before + 1
    # its training went on where it was, and did not begin again
    log = (again.home / "logs" / "worker.log").read_text()
    assert len(re.findall("epoch 1 of 100:", log)) == 1
    assert mlflow_runs(again.home, epochs="100") == ["FINISHED"]
    assert again.stop() == 0


def versions(stack: Up) -> int:
    found = read(f"{stack.mlflow}/api/2.0/mlflow/model-versions/search?filter=name%3D%27digits%27")
    return len(found["model_versions"])


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
def test_a_killed_one_leaves_nothing_for_the_next(stack: Up, up: Callable[..., Up]) -> None:
    stack.stop()
    first = up()
    first.wait_for("Ready after")
    run_id = first.start_run(training={"epochs": 110, "patience": 0})
    training_at(first, 20)
    left = [first.part(name) for name in ("Prefect", "MLflow", "Worker")] + run_processes(run_id)
    first.process.kill()
    first.process.wait()
    second = up()
    second.wait_for("! Stopping what a killed `roundhouse up` left: Worker, Prefect, MLflow.\n")
    second.wait_for("Ready after")
    assert alive(left) == []
    assert second.end_of(run_id) == "COMPLETED"
    assert mlflow_runs(second.home, epochs="110") == ["FINISHED"]
    assert second.stop() == 0


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_kill_while_it_starts_stops_everything(
    up: Callable[..., Up], tmp_path: Path, ending: signal.Signals
) -> None:
    started = up(at=tmp_path / "home")
    until(lambda: len(started.children()) >= 2)
    servers = started.children()
    assert started.stop(ending) == 0
    assert started.shown == "Stopping.\n"
    assert alive(servers) == []


def test_a_server_that_cannot_start_is_said_with_its_log_and_all_is_stopped(
    up: Callable[..., Up], tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mlflow.db").write_text("this is no database, whatever its name says")
    started = up(at=tmp_path / "home")
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


def test_it_waits_for_a_run_that_is_at_work(up: Callable[..., Up], tmp_path: Path) -> None:
    from filelock import FileLock

    home = tmp_path / "home"
    home.mkdir()
    with FileLock(home / "run.lock"):
        started = up(at=home)
        started.wait_for(f"A run is at work in {home}; waiting for it to end.\n")
        assert started.children() == []
    until(lambda: len(started.children()) >= 2)
    assert started.stop() == 0
