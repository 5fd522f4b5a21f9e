"""The servers of a cluster: several processes of each, over databases that one Job migrates."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from infra.clusters import migration
from infra.clusters.processes import Process, await_prefect, command
from tasks.errors import ConfigError, ServiceError
from tasks.settings import Settings

PASSWORD = "planted-cluster-password"
COLLEAGUE = "planted-colleague-password"
SECONDS = 120


def shared(home: Path, **values: Any) -> Settings:
    return Settings(
        home=home,
        host="0.0.0.0",
        password=SecretStr(PASSWORD),
        **{
            "prefect_database": SecretStr("postgresql://we:planted-one@db/prefect"),
            "mlflow_database": SecretStr("postgresql://we:planted%40two@db/mlflow?sslmode=require"),
            "redis": SecretStr("redis://:planted@redis:6379/0"),
            "artifacts": "s3://models/artifacts",
            "allowed_hosts": "localhost,prefect,mlflow",
            **values,
        },
    )


def test_the_api_and_the_services_are_apart_and_neither_migrates(tmp_path: Path) -> None:
    api, api_values = command(Process.PREFECT, shared(tmp_path))
    services, values = command(Process.PREFECT_SERVICES, shared(tmp_path))
    assert api[1:] == ("-m", "infra.prefect_process", "0.0.0.0", "4200")
    assert services[1:] == ("-m", "infra.clusters.background", "0.0.0.0", "4200")
    assert api_values["PREFECT__SERVER_WEBSERVER_ONLY"] == "true"
    assert "PREFECT__SERVER_WEBSERVER_ONLY" not in values
    for found in (api_values, values):
        assert found["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] == "false"
        assert found["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"] == "prefect_redis.lease_storage"


def test_no_secret_is_in_a_command_line(tmp_path: Path) -> None:
    for process in (Process.PREFECT, Process.PREFECT_SERVICES, Process.MLFLOW):
        assert "planted" not in " ".join(command(process, shared(tmp_path))[0])


def test_links_lead_where_the_pages_are_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_UI_URL", "https://prefect.example.org/v2")
    values = command(Process.PREFECT, shared(tmp_path))[1]
    assert values["PREFECT_UI_URL"] == "https://prefect.example.org/v2"
    pages = shared(
        tmp_path,
        tracking_uri="http://mlflow:5000",
        mlflow_public_url="https://mlflow.example.org/",
    ).mlflow_pages
    assert pages == "https://mlflow.example.org"


def test_mlflow_keeps_its_accounts_where_all_of_its_servers_find_them(tmp_path: Path) -> None:
    values = command(Process.MLFLOW, shared(tmp_path))[1]
    accounts = values["MLFLOW_ACCOUNTS_DATABASE"]
    assert accounts == "postgresql+psycopg://we:planted%40two@db/mlflow?sslmode=require"
    assert {"mlflow:*", "localhost:*"} <= set(values["MLFLOW_SERVER_ALLOWED_HOSTS"].split(","))


@pytest.mark.parametrize("name", ["prefect_database", "mlflow_database", "redis", "artifacts"])
def test_what_pods_could_not_share_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"ROUNDHOUSE_{name.upper()} is not set"):
        command(Process.MLFLOW, shared(tmp_path, **{name: None}))


def test_a_server_that_would_ask_for_no_password_is_refused(tmp_path: Path) -> None:
    open_to_all = shared(tmp_path).model_copy(update={"password": None})
    with pytest.raises(ConfigError, match="no password"):
        command(Process.PREFECT, open_to_all)


def test_one_database_for_both_is_refused(tmp_path: Path) -> None:
    one = SecretStr("postgresql://we:planted-one@db/all")
    with pytest.raises(ConfigError, match="both name db/all") as refused:
        migration.migrate(shared(tmp_path, prefect_database=one, mlflow_database=one))
    assert "planted" not in str(refused.value)


def test_a_worker_waits_for_the_api_and_says_so_if_it_does_not_come(tmp_path: Path) -> None:
    settings = shared(tmp_path, prefect_api_url=f"http://127.0.0.1:{free_port()}/api")
    with pytest.raises(ServiceError, match="kubectl logs deployment/prefect"):
        await_prefect(settings, seconds=0)
    with pytest.raises(ConfigError, match="ROUNDHOUSE_PREFECT_API_URL is not set"):
        await_prefect(shared(tmp_path))


class Servers:
    """Processes as pods run them, each with a home of its own and its own port."""

    def __init__(self, folder: Path, settings: dict[str, str], ports: Callable[[], int]) -> None:
        self._folder, self._settings, self._port = folder, settings, ports
        self._started: list[subprocess.Popen[bytes]] = []

    def variables(self, name: str, port: int) -> dict[str, str]:
        home = self._folder / name
        home.mkdir(exist_ok=True)
        own = {
            "ROUNDHOUSE_HOME": str(home),
            "ROUNDHOUSE_PREFECT_PORT": str(port),
            "ROUNDHOUSE_MLFLOW_PORT": str(port),
        }
        return {**os.environ, **self._settings, **own}

    def do(self, process: Process) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-m", "infra.clusters.processes", process]
        return subprocess.run(
            arguments, env=self.variables(process, 1), capture_output=True, text=True, check=False
        )

    def start(self, process: Process, name: str, health: str) -> str:
        port = self._port()
        with (self._folder / f"{name}.log").open("wb") as log:
            started = subprocess.Popen(
                [sys.executable, "-m", "infra.clusters.processes", process],
                env=self.variables(name, port),
                stdout=log,
                stderr=log,
            )
        self._started.append(started)
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and started.poll() is None:
            try:
                urllib.request.urlopen(f"{address}{health}", timeout=5).close()
            except OSError:
                time.sleep(0.2)
            else:
                return address
        raise AssertionError((self._folder / f"{name}.log").read_text()[-3000:])

    def end(self) -> list[int]:
        for process in self._started:
            process.send_signal(signal.SIGTERM)
        return [process.wait(timeout=30) for process in self._started]


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def settings(
    postgres: Callable[[str], str], redis_address: str, object_store: dict[str, str]
) -> dict[str, str]:
    return {
        "ROUNDHOUSE_HOST": "0.0.0.0",
        "ROUNDHOUSE_PASSWORD": PASSWORD,
        "ROUNDHOUSE_PREFECT_DATABASE": postgres("cluster-prefect"),
        "ROUNDHOUSE_MLFLOW_DATABASE": postgres("cluster-mlflow"),
        "ROUNDHOUSE_REDIS": redis_address,
        "ROUNDHOUSE_ARTIFACTS": "s3://models/artifacts",
        # as in the ConfigMap, which every pod has
        "PREFECT_API_URL": "http://prefect:4200/api",
        "ROUNDHOUSE_TRACKING_URI": "http://mlflow:5000",
        **object_store,
    }


@pytest.fixture(scope="module")
def servers(
    settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    """Migrated databases, and what runs over them."""
    found = Servers(tmp_path_factory.mktemp("cluster"), settings, free_port)
    done = found.do(Process.MIGRATION)
    assert done.returncode == 0, done.stderr[-3000:]
    yield found
    assert set(found.end()) <= {0, -signal.SIGTERM, 128 + signal.SIGTERM}


def ask(address: str, path: str, password: str = "", user: str = "admin", body: Any = None) -> Any:
    request = urllib.request.Request(
        f"{address}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    if password:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code


def database(settings: dict[str, str]) -> Settings:
    return Settings(
        prefect_database=SecretStr(settings["ROUNDHOUSE_PREFECT_DATABASE"]),
        mlflow_database=SecretStr(settings["ROUNDHOUSE_MLFLOW_DATABASE"]),
    )


@pytest.mark.slow
def test_the_migration_is_done_once_and_may_be_done_again(
    servers: Servers, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    again = servers.do(Process.MIGRATION)
    assert again.returncode == 0, again.stderr[-3000:]
    assert servers.do(Process.MIGRATED).returncode == 0
    assert "planted" not in again.stderr + again.stdout
    # a pod of another version would wait, and then say why it does not start
    installed = migration.versions()
    monkeypatch.setattr(migration, "versions", lambda: "prefect 9.9.9, mlflow 9.9.9")
    with pytest.raises(ServiceError, match=f"they were last brought to {installed}"):
        migration.await_migration(database(settings), seconds=0)
    # and so would one of this version after an upgrade, until a restored backup is migrated again
    monkeypatch.undo()
    import psycopg

    with psycopg.connect(settings["ROUNDHOUSE_MLFLOW_DATABASE"]) as connection:
        connection.execute("INSERT INTO roundhouse_migrations VALUES ('prefect 9, mlflow 9')")
    with pytest.raises(ServiceError, match="they were last brought to prefect 9, mlflow 9"):
        migration.await_migration(database(settings), seconds=0)
    assert servers.do(Process.MIGRATION).returncode == 0
    migration.await_migration(database(settings), seconds=0)


@pytest.mark.slow
def test_the_api_serves_runs_and_the_services_schedule_them(servers: Servers) -> None:
    api = servers.start(Process.PREFECT, "prefect", "/api/ready")
    assert ask(api, "/api/flows/filter", body={}) == 401
    flow = ask(api, "/api/flows/", PASSWORD, body={"name": "probe"})
    deployment = ask(
        api,
        "/api/deployments/",
        PASSWORD,
        body={
            "name": "probe",
            "flow_id": flow["id"],
            "schedules": [{"schedule": {"interval": 3600}, "active": True}],
        },
    )
    wanted = {"deployments": {"id": {"any_": [deployment["id"]]}}}
    time.sleep(5)
    # nobody schedules it before the services are there
    assert ask(api, "/api/flow_runs/filter", PASSWORD, body=wanted) == []
    servers.start(Process.PREFECT_SERVICES, "services", "/health")
    deadline = time.monotonic() + SECONDS
    while not (runs := ask(api, "/api/flow_runs/filter", PASSWORD, body=wanted)):
        assert time.monotonic() < deadline
        time.sleep(1)
    assert runs[0]["state_type"] == "SCHEDULED"


@pytest.mark.slow
def test_every_mlflow_server_knows_the_same_accounts(servers: Servers) -> None:
    one = servers.start(Process.MLFLOW, "mlflow-one", "/health")
    two = servers.start(Process.MLFLOW, "mlflow-two", "/health")
    search = "/api/2.0/mlflow/experiments/search"
    assert ask(two, f"{search}?max_results=10") == 401
    made = {"username": "colleague", "password": COLLEAGUE}
    assert ask(one, "/api/2.0/mlflow/users/create", PASSWORD, body=made)["user"]
    assert "experiments" in ask(two, f"{search}?max_results=10", COLLEAGUE, "colleague")


@pytest.mark.slow
def test_retention_removes_what_was_deleted_long_ago_but_no_version_s_run(
    servers: Servers, settings: dict[str, str], kept_environment: None
) -> None:
    import boto3
    import psycopg
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    address = settings["ROUNDHOUSE_MLFLOW_DATABASE"]
    os.environ.update(settings)
    client = MlflowClient(tracking_uri=address.replace("postgresql", "postgresql+psycopg"))
    experiment = client.create_experiment("retention", "s3://models/artifacts/retention")
    gone, registered, recent = (client.create_run(experiment).info.run_id for _ in range(3))
    for run in (gone, registered, recent):
        client.log_text(run, "words", "note.txt")
    client.create_registered_model("kept")
    client.create_model_version("kept", "s3://models/artifacts/somewhere", registered)
    for run in (gone, registered, recent):
        client.delete_run(run)
    with psycopg.connect(address) as connection:
        connection.execute(
            "UPDATE runs SET deleted_time = 0 WHERE run_uuid = ANY(%s)", ([gone, registered],)
        )
    done = servers.do(Process.RETENTION)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "version 1 of kept was made by it" in done.stderr
    with pytest.raises(MlflowException):
        client.get_run(gone)
    assert client.get_run(registered).info.lifecycle_stage == "active"
    assert client.get_run(recent).info.lifecycle_stage == "deleted"
    store = boto3.client("s3", endpoint_url=settings["AWS_ENDPOINT_URL"])
    listed = store.list_objects_v2(Bucket="models", Prefix="artifacts/retention/")["Contents"]
    assert {key["Key"].split("/")[2] for key in listed} == {registered, recent}
