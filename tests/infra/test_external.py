"""One deployed run from settings alone: on a laptop's SQLite, and on a team's servers."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

SECONDS = 200
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
PASSWORD = "planted-server-password"
LOCKED = {
    "ROUNDHOUSE_PASSWORD": PASSWORD,
    # nobody is there: that it could not be told is logged, in words that must not hold the token
    "ROUNDHOUSE_NOTIFY": "https://127.0.0.1:9/hooks/planted-webhook-token",
}


@pytest.fixture(
    scope="module",
    params=[pytest.param("sqlite", marks=pytest.mark.slow), "postgres-redis-s3"],
)
def places(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings that say where records, messages and artefacts are kept."""
    if request.param == "sqlite":
        return {}
    database = request.getfixturevalue("postgres")
    return {
        "ROUNDHOUSE_PREFECT_DATABASE": database("prefect"),
        "ROUNDHOUSE_MLFLOW_DATABASE": database("mlflow"),
        "ROUNDHOUSE_REDIS": request.getfixturevalue("redis_address"),
        "ROUNDHOUSE_ARTIFACTS": "s3://models/artifacts",
        "ROUNDHOUSE_STORAGE": "s3://models/storage",
        **request.getfixturevalue("object_store"),
    }


@pytest.fixture(scope="module")
def stack(
    places: dict[str, str],
    stack_at: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """A stack with the settings and a password."""
    return stack_at(tmp_path_factory.mktemp("external") / "home", **places, **LOCKED)


@pytest.fixture(scope="module")
def run(stack: Any) -> Any:
    """The deployed run of digits, asked for as the Run button does, when it has ended."""
    found = stack.ended(stack.trigger("digits"))
    stack.visible = " ".join(
        part for process in psutil.process_iter() for part in command_line(process)
    )
    return found


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def records(stack: Any, places: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Both databases as text, and everything that is kept in files or in the object store."""
    for path in stack.home.rglob("*"):
        if path.is_file() and path.suffix == ".db":
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
                yield str(path), "\n".join(connection.iterdump()).encode()
        elif path.is_file():
            yield str(path), path.read_bytes()
    for name in ("ROUNDHOUSE_PREFECT_DATABASE", "ROUNDHOUSE_MLFLOW_DATABASE"):
        if address := places.get(name):
            secret = {"PGPASSWORD": urlsplit(address).password or ""}
            dump = subprocess.run(
                ["pg_dump", address], capture_output=True, check=True, env={**os.environ, **secret}
            )
            yield name, dump.stdout
    if places:
        import boto3

        keys = {n.lower(): places[n] for n in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        bucket = boto3.resource("s3", endpoint_url=places["AWS_ENDPOINT_URL"], **keys)
        for item in bucket.Bucket("models").objects.all():
            yield item.key, item.get()["Body"].read()


def test_a_deployed_run_makes_a_champion(stack: Any, run: Any) -> None:
    assert run["state_type"] == "COMPLETED", stack.logs()[-5000:]
    status = stack.command("status")
    assert status.returncode == 0, status.stderr
    assert re.search(r"digits +v1 +accuracy 0\.9", status.stdout)
    assert "finished, promoted" in status.stdout
    again = stack.command("run", "digits")
    assert again.returncode == 0, again.stderr
    assert "up to date" in again.stdout


def test_its_records_are_where_the_settings_say(
    stack: Any, run: Any, places: dict[str, str]
) -> None:
    kept = dict(records(stack, places))
    if places:
        assert any(name.startswith("artifacts/") for name in kept)
        assert any(name.startswith("storage/") for name in kept)
        assert run["id"].encode() in kept["ROUNDHOUSE_PREFECT_DATABASE"]
        assert run["id"].encode() in kept["ROUNDHOUSE_MLFLOW_DATABASE"]
        assert not list((stack.home / "artifacts").rglob("*.json"))
    else:
        assert list((stack.home / "artifacts").rglob("*.json"))
        assert run["id"].encode() in kept[str(stack.home / "mlflow.db")]


def test_the_scheduler_plans_the_runs_to_come(stack: Any) -> None:
    """With some versions of SQLAlchemy it fails at each insert, and says so in its log alone."""
    body = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    deadline = time.monotonic() + 60
    while not (planned := stack.ask("flow_runs/count", body)) and time.monotonic() < deadline:
        time.sleep(1)
    assert planned


def test_no_log_tells_of_trouble(stack: Any, run: Any) -> None:
    text = stack.logs()
    assert "database is locked" not in text
    assert "Traceback" not in (stack.home / "logs" / "mlflow-server.log").read_text()


def test_no_secret_is_kept_or_shown(stack: Any, run: Any, places: dict[str, str]) -> None:
    """What is planted: passwords of servers, databases and Redis, a store's key, a token."""
    if places and not shutil.which("pg_dump"):
        pytest.skip("needs PostgreSQL's pg_dump on the PATH")
    found = [name for name, content in records(stack, places) if b"planted" in content]
    assert found == []
    assert "planted" not in stack.shown
    assert "planted" not in stack.visible
    settings = stack.ask("admin/settings")
    # Prefect shows the address of its Redis to those who have the password
    settings["server"]["docket"].pop("url")
    assert "planted" not in json.dumps(settings)
