"""`roundhouse up`: the real servers over a home in which something was run."""

import json
import re
import shutil
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

SECONDS = 60


def free_ports() -> dict[str, str]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return {
            "ROUNDHOUSE_PREFECT_PORT": str(one.getsockname()[1]),
            "ROUNDHOUSE_MLFLOW_PORT": str(other.getsockname()[1]),
        }


@pytest.fixture(scope="module")
def home(first_digits: Any, tmp_path_factory: Any) -> Path:
    """A copy of the home after a first run; its servers may write to it."""
    copy: Path = tmp_path_factory.mktemp("served") / "home"
    shutil.copytree(first_digits.home, copy)
    return copy


@pytest.fixture(scope="module")
def up(home: Path, roundhouse_at: Any) -> Iterator[Callable[..., Any]]:
    """Starts `roundhouse up` on free ports, and sees that none of it outlives the tests."""
    started = []

    def start(*wrapper: str) -> Any:
        ports = free_ports()
        process = roundhouse_at(home).start("up", wrapper=wrapper, **ports)
        process.ports = ports
        started.append(process)
        return process

    yield start
    for process in started:
        for child in [*children(process), process]:
            child.kill()
        process.communicate()


@pytest.fixture(scope="module")
def pages(up: Any) -> Any:
    """`nohup roundhouse up`, once both servers answer; the lines it showed are `.shown`."""
    process = up("nohup")
    started_servers(process)
    process.send_signal(signal.SIGHUP)
    process.shown = [process.stdout.readline() for _ in range(3)]
    return process


def children(process: Any) -> list[psutil.Process]:
    if process.poll() is not None:
        return []
    return psutil.Process(process.pid).children(recursive=True)


def started_servers(process: Any) -> list[psutil.Process]:
    """Both servers, as soon as they are processes."""
    deadline = time.monotonic() + SECONDS
    while len(children(process)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    return children(process)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=5)[1]


def ask(address: str, **body: Any) -> Any:
    request = urllib.request.Request(
        address, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_both_addresses_are_shown_and_serve_what_was_run(pages: Any) -> None:
    prefect, mlflow = (f"http://127.0.0.1:{port}" for port in pages.ports.values())
    assert pages.shown == [
        f"✓ Prefect {prefect}\n",
        f"✓ MLflow  {mlflow}\n",
        "Ctrl-C stops both.\n",
    ]
    (flow_run,) = ask(f"{prefect}/api/flow_runs/filter")
    assert flow_run["name"] == "digits: first training"
    found = ask(f"{mlflow}/api/2.0/mlflow/experiments/search", max_results=10)
    assert "digits" in {experiment["name"] for experiment in found["experiments"]}
    for address in (prefect, mlflow):
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert "<html" in answer.read().decode().lower()


@pytest.mark.parametrize(
    ("setting", "name"),
    [("ROUNDHOUSE_PREFECT_PORT", "Prefect"), ("ROUNDHOUSE_MLFLOW_PORT", "MLflow")],
)
def test_a_taken_port_is_named_with_its_setting(
    pages: Any, roundhouse: Any, setting: str, name: str
) -> None:
    taken = pages.ports[setting]
    done = roundhouse("up", **{**free_ports(), setting: taken})
    assert done.returncode == 1
    assert done.stderr.startswith(f"✗ Port {taken} is taken (Address already in use); the {name}")
    assert f"or set {setting} to another." in done.stderr
    assert not list((roundhouse.home / "logs").iterdir())


def test_ctrl_c_stops_everything(pages: Any) -> None:
    servers = children(pages)
    assert len(servers) >= 2
    pages.send_signal(signal.SIGINT)
    out, error = pages.communicate(timeout=SECONDS)
    assert (pages.returncode, out, error) == (0, "Stopping.\n", "")
    assert alive(servers) == []


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_kill_while_they_start_stops_everything(up: Any, ending: signal.Signals) -> None:
    process = up()
    servers = started_servers(process)
    process.send_signal(ending)
    assert process.communicate(timeout=SECONDS) == ("Stopping.\n", "")
    assert process.returncode == 0
    assert len(servers) >= 2
    assert alive(servers) == []


def test_a_server_that_dies_is_said_so_and_the_other_is_stopped(up: Any, home: Path) -> None:
    process = up()
    for _ in range(3):
        process.stdout.readline()
    servers = children(process)
    mlflow = next(s for s in servers if "mlflow" in s.cmdline() and s.ppid() == process.pid)
    mlflow.kill()
    _, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert error.startswith("✗ The MLflow server ended with code -9; expected it to stay.")
    log = Path(re.search(r"printed is in (\S+)\.$", error.strip())[1])
    assert log == home / "logs" / "mlflow-server.log"
    assert log.stat().st_size
    assert alive(servers) == []
