"""The services that a team has and a laptop has not: PostgreSQL, Redis, an object store."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SECONDS = 90
DATABASE_PASSWORD = "planted-database-password"
REDIS_PASSWORD = "planted-redis-password"
STORE_KEY = "planted-store-key"
NOBODY = 65534


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


@contextlib.contextmanager
def running(
    command: list[str], port: int, ending: signal.Signals = signal.SIGTERM, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A service for as long as it lasts, once something listens on its port."""
    log = tempfile.TemporaryFile()  # noqa: SIM115
    process = subprocess.Popen(command, stdout=log, stderr=log, **options)
    try:
        wait_for(port)
        yield process
    finally:
        process.send_signal(ending)
        process.wait(timeout=20)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], str]]:
    """Makes an empty database in a private PostgreSQL, and gives its address: (name) -> str."""
    # Debian keeps the binaries of each version apart, off the PATH
    places = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), shutil.which("initdb")]
    found = next((Path(place) for place in places if place), None)
    if found is None:
        pytest.skip("needs PostgreSQL's initdb and postgres")
    import psycopg

    binaries = found.resolve().parent
    folder, port = Path(tempfile.mkdtemp(prefix="roundhouse-postgres-")), free_port()
    secret = folder / "password"
    secret.write_text(DATABASE_PASSWORD)
    # PostgreSQL refuses to be run by root
    whom: dict[str, Any] = {}
    if os.geteuid() == 0:
        whom = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        for path in (folder, secret):
            os.chown(path, NOBODY, NOBODY)
    subprocess.run(
        [
            binaries / "initdb", "-D", folder / "data", "-U", "roundhouse", "-E", "UTF8",
            "-A", "scram-sha-256", "--no-sync", f"--pwfile={secret}",
        ],
        check=True, stdout=subprocess.DEVNULL, cwd=folder, **whom,
    )  # fmt: skip
    address = f"postgresql://roundhouse:{DATABASE_PASSWORD}@127.0.0.1:{port}"

    def make(name: str) -> str:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                connection = psycopg.connect(f"{address}/postgres", autocommit=True)
                break
            except psycopg.OperationalError:
                # it listens a while before it lets anybody in
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        with connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return f"{address}/{name}"

    options = [f"-cport={port}", "-cfsync=off", "-cunix_socket_directories="]
    command = [str(binaries / "postgres"), "-D", str(folder / "data"), *options]
    # asked politely, it would wait for the clients that it still has
    with running(command, port, signal.SIGINT, cwd=folder, **whom):
        yield make
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a private Redis."""
    command = shutil.which("redis-server")
    if not command:
        pytest.skip("needs redis-server on the PATH")
    port = free_port()
    configuration = tmp_path_factory.mktemp("redis") / "redis.conf"
    configuration.write_text(f'port {port}\nrequirepass {REDIS_PASSWORD}\nsave ""\n')
    with running([command, str(configuration)], port, cwd=configuration.parent):
        yield f"redis://:{REDIS_PASSWORD}@127.0.0.1:{port}/0"


@pytest.fixture(scope="session")
def object_store() -> Iterator[dict[str, str]]:
    """The variables with which everything finds a private S3 that holds the bucket `models`."""
    import boto3

    port = free_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "roundhouse",
        "AWS_SECRET_ACCESS_KEY": STORE_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with running([sys.executable, "-m", "moto.server", "-p", str(port)], port):
        boto3.client(
            "s3",
            endpoint_url=variables["AWS_ENDPOINT_URL"],
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=STORE_KEY,
            region_name="us-east-1",
        ).create_bucket(Bucket="models")
        yield variables


@contextlib.contextmanager
def served(*parts: Any, log: Path) -> Iterator[None]:
    """Parts of the stack for as long as it lasts, once each says that it is well."""
    with contextlib.ExitStack() as stack, log.open("ab") as file:
        processes = []
        for part in parts:
            process = subprocess.Popen(
                part.command, stdout=file, stderr=file, env={**os.environ, **part.environment}
            )
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
            processes.append(process)
        for part, process in zip(parts, processes, strict=True):
            deadline = time.monotonic() + SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(OSError), urllib.request.urlopen(part.health, timeout=5):
                    break
                time.sleep(0.1)
            else:
                raise RuntimeError(f"{part.name} does not answer: {log.read_text()[-3000:]}")
        yield


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """Starts parts of the stack: (*parts, log) -> context manager."""
    return served


@pytest.fixture
def kept_environment() -> Iterator[None]:
    """What a command does to its own environment is undone after the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
