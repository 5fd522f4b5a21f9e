"""What is in the image when the Dockerfile's own steps are run, and what can be done with it."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra import dockerfile
from tests.infra.container_engine import ContainerEngine
from tests.infra.dockerfile import Build, FileSystem
from tests.infra.image_builds import build, build_arguments, debian, package_cache

ROOT = Path(__file__).parents[2]
DEFAULTS, _ = dockerfile.parse((ROOT / "infra" / "docker" / "Dockerfile").read_text())
HOME = "/home/roundhouse"
SECONDS = 400
REFERENCE = "registry.example.org/roundhouse:1.2.3"
# the file systems of its stages, of which the largest has three and a half GiB; an engine keeps the
# packages that it fetched and each of its layers beside them
DISK, ENGINE_DISK, LARGEST = 10 * 2**30, 20 * 2**30, 3.7 * 2**30


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerEngine | None]:
    """A container engine that has built the image for CPUs; None where there is no engine."""
    if os.geteuid() or not shutil.which("debootstrap") or not shutil.which("unshare"):
        pytest.skip("needs root, debootstrap and unshare")
    folder = tmp_path_factory.mktemp("engine")
    if not ContainerEngine.usable() or shutil.disk_usage(folder).free < ENGINE_DISK:
        yield None
        return
    engine = ContainerEngine(folder)
    try:
        base = engine.add_base(DEFAULTS["PYTHON_IMAGE"], debian)
        log = tmp_path_factory.mktemp("log") / "build"
        engine.build(ROOT, "cpu", REFERENCE, base, log)
        assert "The image is whole." in log.read_text()
        yield engine
    finally:
        engine.remove()


@pytest.fixture(scope="module")
def image(
    engine: ContainerEngine | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FileSystem]:
    """The engine's image; without one it is made by the Dockerfile's steps in a Debian folder."""
    if engine:
        yield engine.files(REFERENCE)
        return
    folder = tmp_path_factory.mktemp("image")
    if shutil.disk_usage(folder).free < DISK:
        pytest.skip(f"needs {DISK / 2**30:.0f} GiB of disk")
    done = build(ROOT, folder / "noted", "cpu", REFERENCE)
    assert done.returncode == 0, done.stderr
    context = folder / "noted" / "context"
    with (folder / "log").open("w") as log:
        maker = Build(
            dockerfile=context / "infra" / "docker" / "Dockerfile",
            context=context,
            folder=folder / "stages",
            base=debian,
            cache=package_cache(folder / "cache"),
            arguments=build_arguments(folder / "noted"),
            log=lambda line: print(line, file=log, flush=True),
        )
        try:
            yield maker.make("cpu")
        finally:
            # what is mounted there is mounted in namespaces that are gone
            shutil.rmtree(folder / "stages", ignore_errors=True)


def container(
    system: FileSystem, *command: str, home: Path | None = None, **environment: str
) -> subprocess.Popen[str]:
    """A command by the entry point, where only the home and /tmp can be written to."""
    return dockerfile.start(
        system,
        [*system.entry_point, *command],
        environment=environment,
        mounts={HOME: home} if home else {},
        writable=("/tmp",) if home else ("/tmp", HOME),
    )


def answer(system: FileSystem, *command: str, **options: Any) -> tuple[int, str]:
    process = container(system, *command, **options)
    try:
        output, _ = process.communicate(timeout=SECONDS)
    finally:
        dockerfile.stop(process)
    return process.returncode, output


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def without(system: FileSystem, patterns: Iterable[str]) -> Iterator[None]:
    """Files of an image put aside."""
    found = [path for pattern in patterns for path in sorted(system.root.glob(pattern))]
    aside = [path.with_name(f"{path.name}.aside") for path in found]
    # not renamed: in the layers of an engine a folder cannot be
    for path, other in zip(found, aside, strict=True):
        shutil.move(path, other)
    try:
        yield
    finally:
        for path, other in zip(found, aside, strict=True):
            shutil.move(other, path)


@pytest.mark.slow
def test_the_image_is_whole_where_nothing_but_home_and_tmp_can_be_written(
    image: FileSystem,
) -> None:
    status, output = answer(image, "sh", "/opt/roundhouse/check.sh")
    assert (status, output.strip()) == (0, "The image is whole.")
    assert image.user == "10001:10001"
    assert image.labels["org.opencontainers.image.version"] == "1.2.3"
    assert re.fullmatch(r"sha256:\w{64}", image.labels["roundhouse.lock.digest"])
    assert re.fullmatch(r"\w{40}", image.labels["org.opencontainers.image.revision"])
    status, output = answer(image, "touch", "/opt/roundhouse/x", "/etc/x")
    assert status == 1
    assert output.count("Read-only file system") == 2
    assert list((image.root / HOME.lstrip("/")).iterdir()) == []
    size = subprocess.run(["du", "-sxk", image.root], capture_output=True, text=True, check=True)
    assert int(size.stdout.split()[0]) < LARGEST / 1024


# what a process is told that is asked to end, and whether it is the first one's child
TRIAL = """
trap 'echo told to end; exit 7' TERM
cat /proc/1/comm; id -u; touch /etc/x; sh /opt/roundhouse/check.sh; echo ready
while :; do sleep 0.1; done
"""


@pytest.mark.slow
def test_an_engine_starts_it_and_the_signal_to_end_reaches_the_command(
    engine: ContainerEngine | None,
) -> None:
    if engine is None:
        pytest.skip(f"needs podman and {ENGINE_DISK / 2**30:.0f} GiB of disk")
    trial = engine.start(REFERENCE, "sh", "-c", TRIAL, home=HOME)
    assert trial.stdout
    lines = []
    while not lines or lines[-1] not in ("ready", ""):
        lines.append(trial.stdout.readline().strip())
    assert lines[:2] == ["tini", "10001"]
    assert "Read-only file system" in lines[2]
    assert lines[3:] == ["The image is whole.", "ready"]
    trial.terminate()
    output, _ = trial.communicate(timeout=SECONDS)
    assert (trial.returncode, output.strip()) == (7, "told to end")
    helped = engine.start(REFERENCE, home=HOME)
    assert "Keeps models fresh" in helped.communicate(timeout=SECONDS)[0]
    assert helped.returncode == 0


PACKAGES_FOLDER = "opt/roundhouse/venv/lib/python*/site-packages"
# without it hardly a module can be imported, so it is missing by itself
LIBRARY = {"usr/lib/*/libstdc++.so.6*": "The shared library libstdc++.so.6 is missing."}
OTHERS = {
    "usr/bin/tini": "The command tini is not on the PATH.",
    "etc/ssl/certs/ca-certificates.crt": "the package ca-certificates is not installed.",
    "opt/roundhouse/logging.yml": "/opt/roundhouse/logging.yml is missing.",
    "opt/roundhouse/venv/share/roundhouse/*/mlflow.db": "mlflow.db is missing.",
    f"{PACKAGES_FOLDER}/s3fs-*": "The package s3fs==",
    f"{PACKAGES_FOLDER}/tasks/turns.py": "cannot import name 'turns' from 'tasks'",
    f"{PACKAGES_FOLDER}/infra/__pycache__/cli.*": "infra.cli has no bytecode.",
}


@pytest.mark.slow
@pytest.mark.parametrize("named", [LIBRARY, OTHERS], ids=["a library", "anything else"])
def test_whatever_is_missing_is_named(image: FileSystem, named: dict[str, str]) -> None:
    with without(image, named):
        process = dockerfile.start(image, ["sh", "/opt/roundhouse/check.sh"])
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert [told for told in named.values() if told not in output] == [], output
    assert "The image is not whole" in output


@pytest.mark.slow
def test_a_pipeline_ends_with_a_champion_in_it(image: FileSystem) -> None:
    status, output = answer(image, "roundhouse", "run", "digits")
    assert status == 0, output
    assert "digits v1, champion" in output


def asked(address: str, **content: Any) -> Any:
    """What a server answers, as JSON where it is; with content it is a POST."""
    body = json.dumps(content).encode() if content else None
    request = urllib.request.Request(address, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        text = reply.read().decode()
    return json.loads(text) if text[:1] in "[{" else text


@pytest.fixture
def servers(image: FileSystem, tmp_path: Path) -> Iterator[tuple[Path, str, str]]:
    """Both servers from the image, over one home: the home, Prefect's address, MLflow's."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 10001, 10001)
    prefect, mlflow = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    ports = [address.rpartition(":")[2] for address in (prefect, mlflow)]
    started = [
        container(
            image, "python", "-m", "infra.prefect_process", "127.0.0.1", ports[0],
            home=home, PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS=prefect,
        ),
        container(
            image, "python", "-m", "infra.mlflow_process", "server", "--host", "127.0.0.1",
            "--port", ports[1], "--workers", "1",
            home=home, MLFLOW_BACKEND_STORE_URI=f"sqlite:///{HOME}/mlflow.db",
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        ),
    ]  # fmt: skip
    try:
        for process, health in zip(
            started, (f"{prefect}/api/health", f"{mlflow}/health"), strict=True
        ):
            deadline = time.monotonic() + SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    asked(health)
                    break
                time.sleep(0.2)
        yield home, prefect, mlflow
    finally:
        ended = [dockerfile.stop(process) for process in started]
    assert set(ended) <= {0, 128 + signal.SIGTERM}, "a server did not end in order"


@pytest.mark.slow
def test_prefect_starts_a_deployed_run_in_it_by_its_own_command(
    image: FileSystem, servers: tuple[Path, str, str]
) -> None:
    home, prefect, mlflow = servers
    assert "<title>" in asked(prefect) or "<!DOCTYPE html>" in asked(prefect)
    addresses = {
        "PREFECT_API_URL": f"{prefect}/api",
        "ROUNDHOUSE_PREFECT_API_URL": f"{prefect}/api",
        "ROUNDHOUSE_TRACKING_URI": mlflow,
    }
    status, output = answer(image, "roundhouse", "deploy", home=home, **addresses)
    assert status == 0, output
    named = {"deployments": {"name": {"any_": ["digits"]}}}
    deployment = asked(f"{prefect}/api/deployments/filter", **named)[0]["id"]
    run = asked(f"{prefect}/api/deployments/{deployment}/create_flow_run", name="in-the-image")[
        "id"
    ]
    from prefect.workers.base import BaseJobConfiguration

    command = BaseJobConfiguration._base_flow_run_command().split()
    status, output = answer(image, *command, home=home, PREFECT__FLOW_RUN_ID=run, **addresses)
    assert status == 0, output
    assert asked(f"{prefect}/api/flow_runs/{run}")["state"]["type"] == "COMPLETED"
    alias = f"{mlflow}/api/2.0/mlflow/registered-models/alias?name=digits&alias=champion"
    assert asked(alias)["model_version"]["version"] == "1"
