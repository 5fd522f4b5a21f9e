"""Passwords in addresses, through the real command: used, and kept nowhere."""

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

FILE = "Telco-Customer-Churn.csv"
PASSWORD, KEY = "planted-password", "planted-key"
OWN_DATA = (
    "--set", "ingestion.checksum=none",
    "--set", "checks.minimum_rows=50",
    "--set", "training.epochs=2",
    "--set", "gate.beat_baseline=false",
)  # fmt: skip


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder to those who have the password; is too busy for the first request."""

    busy = True

    def do_GET(self) -> None:
        if not self.headers.get("Authorization") or KEY not in self.path:
            self.send_error(401)
        elif Server.busy:
            Server.busy = False
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Host and port of a server of the folder `data`."""
    handler = partial(Server, directory=str(tmp_path / "data"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def places_of(secret: str, home: Path) -> list[Path]:
    files = [path for path in home.rglob("*") if path.is_file()]
    assert {"mlflow.db", "prefect.db"} <= {path.name for path in files}
    return [path for path in files if secret.encode() in path.read_bytes()]


def test_a_password_in_the_data_address_is_used_and_kept_nowhere(
    roundhouse: Any, address: str, tmp_path: Path, telco: Any
) -> None:
    """The first answer is that the server is busy; the plan is made again, in one MLflow run."""
    (tmp_path / "data").mkdir()
    telco().to_csv(tmp_path / "data" / FILE, index=False)
    location = f"http://me:{PASSWORD}@{address}?key={KEY}"
    done = roundhouse("run", "churn", *OWN_DATA, ROUNDHOUSE_DATA_DIR=location)
    assert done.returncode == 0, done.stderr
    assert [run.info.status for run in roundhouse.runs("churn")] == ["FINISHED"]
    refused = roundhouse("run", "churn", ROUNDHOUSE_DATA_DIR=f"http://{PASSWORD}@{address}?{KEY}")
    assert "ROUNDHOUSE_DATA_DIR" in refused.stderr
    silent = roundhouse(
        "run", "churn", *OWN_DATA, "--force",
        ROUNDHOUSE_DATA_DIR=location,
        ROUNDHOUSE_TRACKING_URI=f"http://me:{PASSWORD}@127.0.0.1:9",
        ROUNDHOUSE_TIMEOUT_SECONDS="1",
    )  # fmt: skip
    assert "MLflow server at http://127.0.0.1:9 does not answer" in silent.stderr
    for command in (done, refused, silent):
        assert "planted" not in command.stdout + command.stderr
    assert places_of("planted", roundhouse.home) == []


@pytest.mark.parametrize(
    ("arguments", "variables", "hint"),
    [
        (
            ("--set", f"ingestion.location=https://u:{PASSWORD}@h/x?token={KEY}"),
            {},
            "In ingestion.location, the address https://h/x came with",
        ),
        ((), {"ROUNDHOUSE_STORAGE": f"s3://{KEY}:{PASSWORD}@bucket/x"}, "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_password_where_it_would_be_kept_is_refused(
    roundhouse: Any, arguments: tuple[str, ...], variables: dict[str, str], hint: str
) -> None:
    done = roundhouse("run", "churn", *arguments, **variables)
    assert done.returncode == 1
    assert hint in done.stderr
    assert "planted" not in done.stdout + done.stderr
    assert not roundhouse.home.exists()
