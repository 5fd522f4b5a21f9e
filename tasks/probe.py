"""What a process finds where it is: its places written and read back, versions, clocks, devices.

`roundhouse doctor` asks this of the machine it runs on, and by the flow `probe` of the machines on
which runs execute.
"""

import contextlib
import hashlib
import os
import shutil
import socket
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path

from pydantic import Field

from tasks import tracking
from tasks.errors import RoundhouseError, StorageError
from tasks.handoffs import Handoff
from tasks.remote import is_remote, said_by_system, scrubbed, shown
from tasks.services import service_errors
from tasks.settings import Settings
from tasks.storage import Storage
from tasks.stores import disk_errors

SIZE = 10 * 2**20
PROBED = ("roundhouse-ml", "prefect", "mlflow", "keras", "tensorflow")
PROBLEM_SHOWN = 300


class Trial(Handoff):
    """What came of writing to a place and reading back.

    Args:
        place: Its address, without what may not be shown.
        seconds: How long it took.
        problem: Why it failed; empty if it did not.
    """

    place: str
    seconds: float = 0.0
    problem: str = ""


class Disk(Handoff):
    """How much of the disk below a folder is free.

    Args:
        folder: The folder.
        free: Bytes.
        total: Bytes.
    """

    folder: str
    free: int
    total: int


class ProbeReport(Handoff):
    """What a process found where it is.

    Args:
        host: Name of the machine.
        mlflow: Address of the tracking store, without what may not be shown.
        versions: Per distribution, its version; empty where it is not installed.
        storage: What came of the content-addressed storage.
        artifacts: What came of MLflow's artefact storage; of each, where there are several.
        disks: The disks of the home and of whatever else is a folder.
        clocks: Per server, the seconds by which its clock is ahead of this machine's.
        gpus: GPUs by name, as the driver lists them.
        code: Per entrypoint, why it cannot be imported; empty where it can.
    """

    host: str
    mlflow: str
    versions: dict[str, str]
    storage: Trial
    artifacts: tuple[Trial, ...]
    disks: tuple[Disk, ...]
    clocks: dict[str, float]
    gpus: tuple[str, ...]
    code: dict[str, str] = Field(default_factory=dict)


def look_around(
    settings: Settings, experiments: Iterable[str] = (), code: dict[str, str] | None = None
) -> ProbeReport:
    """Looks at this machine as a run would use it.

    Args:
        settings: Places and addresses.
        experiments: MLflow experiments whose artefacts are looked for.
        code: Per entrypoint, why it cannot be imported.
    """
    servers = {
        "Prefect": f"{settings.prefect_api_url}/health" if settings.prefect_api_url else "",
        "MLflow": f"{shown(settings.tracking_uri)}/health" if settings.tracking_uri else "",
    }
    return ProbeReport(
        host=socket.gethostname(),
        mlflow=shown(settings.tracking_uri).rstrip("/")
        if settings.tracking_uri
        else settings.mlflow_uri,
        versions=find_versions(),
        storage=try_storage(settings.storage_uri),
        artifacts=try_artifacts(settings, experiments),
        disks=find_disks([str(settings.home_folder), settings.storage_uri]),
        clocks={
            name: offset
            for name, address in servers.items()
            if address and (offset := clock_offset(address, settings.timeout_seconds)) is not None
        },
        gpus=find_gpus(),
        code=code or {},
    )


def try_storage(uri: str, size: int = SIZE) -> Trial:
    """Writes a scratch file to the content-addressed storage, reads it back and removes it.

    Args:
        uri: Its root.
        size: Bytes.
    """
    storage, name = Storage(uri), f"probe-{uuid.uuid4().hex}"
    started, content = time.monotonic(), os.urandom(size)

    def write_and_read() -> bytes:
        path = storage.named_path(name)
        try:
            with disk_errors(uri):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            storage.publish_named(name, path)
            if not storage.is_local:
                # or it would be this machine's own copy that is read
                path.unlink()
            return storage.named_path(name).read_bytes()
        finally:
            with contextlib.suppress(RoundhouseError, OSError):
                storage.delete_named(name, path)

    with _tried(uri) as problems:
        _require_same(uri, write_and_read(), content)
    return Trial(place=shown(uri), seconds=time.monotonic() - started, problem="".join(problems))


def try_artifacts(
    settings: Settings, experiments: Iterable[str] = (), size: int = SIZE
) -> tuple[Trial, ...]:
    """Writes a scratch file to MLflow's artefact storage, reads it back and removes it.

    Args:
        settings: Places and addresses.
        experiments: MLflow experiments whose artefacts it holds.
        size: Bytes.
    """
    uri = settings.mlflow_uri
    with _tried(uri) as problems, service_errors(uri):
        tracking.require_answer(uri, settings.timeout_seconds)
        roots = artifact_roots(settings, experiments)
    if problems:
        return (Trial(place=shown(uri), problem="".join(problems)),)
    return tuple(_try_artifacts(root, uri, os.urandom(size)) for root in roots)


def artifact_roots(settings: Settings, experiments: Iterable[str]) -> tuple[str, ...]:
    """Where MLflow keeps the artefacts of experiments; where a first one's would be, if none is.

    Args:
        settings: Places and addresses.
        experiments: Their names.
    """
    if settings.tracking_uri is None and not (settings.home_folder / "mlflow.db").exists():
        return (settings.artifact_root,)
    client = tracking.client(settings.mlflow_uri)
    found = [client.get_experiment_by_name(name) for name in experiments]
    roots = [str(each.artifact_location).rpartition("/")[0] for each in found if each]
    if not roots and settings.tracking_uri and (first := client.get_experiment_by_name("Default")):
        place = str(first.artifact_location)
        # a folder here says where the database was made, not what the server does today
        roots = [place.rpartition("/")[0]] if is_remote(place) else []
    return tuple(dict.fromkeys(roots)) or (settings.artifact_root,)


def find_versions() -> dict[str, str]:
    """The versions of what client and server, and training and serving, must have in common."""
    versions = {}
    for name in PROBED:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = ""
    return versions


def find_disks(places: Iterable[str]) -> tuple[Disk, ...]:
    """The disks below those places that are folders, each disk once."""
    disks: dict[int, Disk] = {}
    for place in places:
        folder = Path(place.removeprefix("file://"))
        if "://" in str(place) and not place.startswith("file://"):
            continue
        # a folder that is not there yet will be made on the disk of the nearest one that is
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        usage = shutil.disk_usage(folder)
        disks.setdefault(
            folder.stat().st_dev, Disk(folder=str(folder), free=usage.free, total=usage.total)
        )
    return tuple(disks.values())


def clock_offset(address: str, timeout_seconds: float) -> float | None:
    """Seconds by which a server's clock is ahead of this machine's; None if it does not tell.

    The answer's `Date` has whole seconds, so a second more or less says nothing.
    """
    before = time.time()
    try:
        with urllib.request.urlopen(address, timeout=timeout_seconds) as answer:
            date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (OSError, ValueError, TypeError):
        return None
    after = time.time()
    # the moment it tells of lies within the second that it names
    return float(max(date - after, 0.0) + min(date + 1 - before, 0.0))


def find_gpus() -> tuple[str, ...]:
    """The GPUs that NVIDIA's driver lists; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return tuple(str(pynvml.nvmlDeviceGetName(handle)) for handle in handles)
    finally:
        pynvml.nvmlShutdown()


def _try_artifacts(root: str, mlflow_uri: str, content: bytes) -> Trial:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    started = time.monotonic()
    with _tried(root) as problems, tempfile.TemporaryDirectory() as folder:
        source, back = Path(folder, "probe.bin"), Path(folder, "back")
        source.write_bytes(content)
        back.mkdir()
        place = f"{root}/probe-{uuid.uuid4().hex}"
        repository = get_artifact_repository(place, tracking_uri=mlflow_uri)
        try:
            repository.log_artifact(str(source))
            found = Path(repository.download_artifacts("probe.bin", dst_path=str(back)))
            _require_same(root, found.read_bytes(), content)
        finally:
            with contextlib.suppress(Exception):
                repository.delete_artifacts()
    seconds = time.monotonic() - started
    return Trial(place=shown(root), seconds=seconds, problem="".join(problems))


def _require_same(place: str, found: bytes, content: bytes) -> None:
    if hashlib.sha256(found).digest() != hashlib.sha256(content).digest():
        raise StorageError(
            f"{shown(place)} gave back {len(found):,} other bytes than the {len(content):,} that "
            "were written; expected the same. See what lies between."
        )


@contextlib.contextmanager
def _tried(place: str) -> Iterator[list[str]]:
    """Whatever goes wrong with a place becomes a text that shows no secret."""
    problems: list[str] = []
    try:
        yield problems
    except RoundhouseError as error:
        problems.append(scrubbed(str(error)))
    except Exception as error:  # every store has its own exceptions
        said = said_by_system(error) or scrubbed(str(error)) or type(error).__name__
        problems.append(f"{shown(place)}: {said.strip().splitlines()[0][:PROBLEM_SHOWN]}")
