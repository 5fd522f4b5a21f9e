"""The pages over everything that was run: Prefect's and MLflow's, in the foreground."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra import databases
from infra.environment import environment
from tasks.errors import ConfigError, ServiceError
from tasks.home import prepare_home
from tasks.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

HOST = "127.0.0.1"
STARTUP_SECONDS = 120.0
# Ctrl-C, an ordinary kill, and a terminal that was closed
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Part:
    """One server of the stack.

    Args:
        name: What people call it.
        command: How it is started.
        address: Where its pages are.
        health: Where it says that it is well.
        setting: The variable that changes its port.
    """

    name: str
    command: tuple[str, ...]
    address: str
    health: str
    setting: str


def serve_pages(settings: Settings, console: "Console") -> None:
    """Starts both servers on the home, shows their addresses, and stops them on Ctrl-C.

    Raises:
        ConfigError: A port is taken.
        ServiceError: A server does not start, or ends by itself.
    """
    prepare_home(settings)
    databases.prepare_databases(settings)
    parts = (_prefect(settings), _mlflow(settings))
    for part, port in zip(parts, (settings.prefect_port, settings.mlflow_port), strict=True):
        _require_free(part, port)
    processes: dict[Part, subprocess.Popen[bytes]] = {}
    _interrupt_at_endings()
    try:
        for part in parts:
            processes[part] = _start(part, settings)
        for part, process in processes.items():
            _wait(part, process, settings)
            console.print(f"[green]✓[/] {part.name:<8}[link={part.address}]{part.address}[/link]")
        console.print("Ctrl-C stops both.")
        while True:
            time.sleep(1)
            for part, process in processes.items():
                _require_running(part, process, settings)
    except KeyboardInterrupt:
        console.print("Stopping.")
    finally:
        _stop(processes.values())


def _prefect(settings: Settings) -> Part:
    port = str(settings.prefect_port)
    command = ("prefect", "server", "start", "--host", HOST, "--port", port)
    address = f"http://{HOST}:{port}"
    return Part(
        name="Prefect",
        command=(sys.executable, "-m", *command),
        address=address,
        health=f"{address}/api/health",
        setting="ROUNDHOUSE_PREFECT_PORT",
    )


def _mlflow(settings: Settings) -> Part:
    port = str(settings.mlflow_port)
    address = f"http://{HOST}:{port}"
    command = (
        "mlflow", "server", "--host", HOST, "--port", port, "--workers", "1",
        "--backend-store-uri", f"sqlite:///{settings.home_folder / 'mlflow.db'}",
        "--artifacts-destination", str(settings.artifact_folder),
    )  # fmt: skip
    return Part(
        name="MLflow",
        command=(sys.executable, "-m", *command),
        address=address,
        health=f"{address}/health",
        setting="ROUNDHOUSE_MLFLOW_PORT",
    )


def _require_free(part: Part, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"Port {port} is taken ({error.strerror}); the {part.name} server needs a free "
                f"one. Stop what uses it, or set {part.setting} to another."
            ) from error


def _start(part: Part, settings: Settings) -> subprocess.Popen[bytes]:
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with _log(part, settings).open("ab") as log:
        return subprocess.Popen(
            part.command,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment(settings), **quiet},
            # Ctrl-C reaches us alone, and we stop the servers in order
            start_new_session=True,
        )


def _wait(part: Part, process: subprocess.Popen[bytes], settings: Settings) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        _require_running(part, process, settings)
        try:
            with urllib.request.urlopen(part.health, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise ServiceError(
        f"The {part.name} server does not answer at {part.address}; expected it within "
        f"{STARTUP_SECONDS:g} s. What it printed is in {_log(part, settings)}."
    )


def _require_running(part: Part, process: subprocess.Popen[bytes], settings: Settings) -> None:
    if process.poll() is not None:
        raise ServiceError(
            f"The {part.name} server ended with code {process.returncode}; expected it to stay. "
            f"What it printed is in {_log(part, settings)}."
        )


def _interrupt_at_endings() -> None:
    for ending in ENDINGS:
        # a shell that starts us in the background has Ctrl-C ignored, which is not meant for us;
        # nohup has the closed terminal ignored, and means it
        if ending != signal.SIGHUP or signal.getsignal(ending) != signal.SIG_IGN:
            signal.signal(ending, signal.default_int_handler)


def _stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Stops the servers and whatever they started; they get ten seconds to end in order."""
    for ending in ENDINGS:
        # a second Ctrl-C must not leave a server behind
        signal.signal(ending, signal.SIG_IGN)
    for process in processes:
        process.terminate()
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        # a server that was killed leaves its workers; each has a session of its own
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _log(part: Part, settings: Settings) -> Path:
    return settings.log_folder / f"{part.name.lower()}-server.log"
