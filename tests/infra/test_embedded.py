import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from infra.databases import prepare_databases
from infra.embedded import EmbeddedServer
from infra.environment import EMBEDDED, environment
from tasks.errors import ServiceError
from tasks.settings import Settings


@pytest.fixture
def server(tmp_path: Path) -> EmbeddedServer:
    settings = Settings(home=tmp_path)
    prepare_databases(settings)
    return EmbeddedServer({**environment(settings), **EMBEDDED}, tmp_path / "server.log")


def test_the_server_answers_and_ends(server: EmbeddedServer) -> None:
    """Would have caught the server that does not import with a newer fastapi."""
    with server:
        server.start()
        server.wait()
        with urllib.request.urlopen(f"{server.api_url}/admin/version", timeout=5) as answer:
            assert json.load(answer) == "3.8.8"
    with pytest.raises(ServiceError, match=r"did not start.*ROUNDHOUSE_PREFECT_API_URL"):
        server.wait()


def test_a_server_that_cannot_start_is_said_so(tmp_path: Path) -> None:
    broken = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////no/such/folder/x.db"}
    with EmbeddedServer(broken, tmp_path / "server.log") as server:
        server.start()
        with pytest.raises(ServiceError, match=r"did not start.*server\.log"):
            server.wait()


def test_the_server_does_not_outlive_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path\n"
            "from infra.embedded import EmbeddedServer\n"
            f"s = EmbeddedServer({{}}, Path({str(tmp_path / 'log')!r})); s.start()\n"
            "print(s._process.pid, flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    import psutil

    deadline = time.monotonic() + 60
    while psutil.pid_exists(child) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not psutil.pid_exists(child)
