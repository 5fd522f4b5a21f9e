"""A turn outlives the server that gave it."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextvars import copy_context
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)

from infra.databases import prepare_databases
from infra.servers import prefect_server as prefect_part
from tasks import leases, turns
from tasks.settings import Settings

SECONDS = 90


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[tuple[str, Callable[[], "subprocess.Popen[bytes]"]]]:
    """The address of the API, and what starts its server on one home, again and again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(home=tmp_path, prefect_port=port)
    prepare_databases(settings)
    part, started = prefect_part(settings), []

    def start() -> "subprocess.Popen[bytes]":
        with (tmp_path / "server.log").open("ab") as log:
            process = subprocess.Popen(
                part.command, stdout=log, stderr=log, env={**os.environ, **part.environment}
            )
        started.append(process)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(part.health, timeout=5).close()
                return process
            except OSError:
                time.sleep(0.2)
        raise TimeoutError("the server does not answer")

    yield f"{part.address}/api", start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_turn_is_kept_over_a_killed_server_and_given_back(
    start_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "SECONDS_BETWEEN_RENEWALS", 1)
    begun, end = Event(), Event()

    @flow(name="turning", persist_result=False)
    def turning(pipeline: str) -> None:
        with turns.turn(pipeline, "wait"):
            begun.set()
            end.wait(5 * SECONDS)

    address, start = start_server
    values = {PREFECT_API_URL: address, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(values), get_client(sync_client=True) as client:
        server = start()
        thread = Thread(target=copy_context().run, args=(turning, "kept"))
        thread.start()
        assert begun.wait(SECONDS)
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        # longer than Prefect's own renewal would try
        time.sleep(12)
        start()
        slots = lambda: client.read_global_concurrency_limit_by_name("pipeline-kept").active_slots  # noqa: E731
        # longer than a lease that nobody renews, and the server's next look at it
        time.sleep(leases.LEASE_SECONDS + 20)
        assert slots() == 1
        end.set()
        thread.join(SECONDS)
        assert slots() == 0
