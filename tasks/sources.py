"""Finds the source files of a dataset, complete and unchanged: in a folder or at an address.

Runs at the start of every run to see whether anything changed, so it reads each file once and
parses none. Digests are of unpacked bytes: a `.gz` that was packed anew holds the same content.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from tasks import remote
from tasks.datasets import Dataset, PublishedFile, get_dataset
from tasks.errors import ChecksumMismatch, SourceError
from tasks.formats import unpacked
from tasks.handoffs import Source, SourceFile
from tasks.storage import disk_errors

logger = logging.getLogger(__name__)
Checksum = Literal["published", "none"]
PUBLIC = "public address"
CHUNK_BYTES = 1 << 20
POINT_AT = (
    "Point ROUNDHOUSE_DATA_DIR or --set ingestion.location at the folder or address that holds it"
)


def find_source(
    name: str,
    *,
    location: str | None = None,
    data_dir: str | None = None,
    checksum: Checksum = "published",
    downloads: Path,
    timeout_seconds: float = 10.0,
) -> Source:
    """The source files of a dataset, each on this machine and checked.

    Looked for at `location`; else, unless a package bundles them, at `data_dir`; else in that
    package or at their public addresses. A location may hold the files packed (`.gz`) or not,
    directly or in the dataset's folder, or one Parquet file with the dataset's columns. Files from
    an address are fetched once; with the checksum "none", or where none was published, they may
    have grown, and are fetched anew.

    Args:
        name: Name of the dataset.
        location: A folder, http(s) address or object-store address, from the configuration.
        data_dir: The same, from the settings.
        checksum: `published`: refuse any but the published bytes.
        downloads: Folder for fetched files.
        timeout_seconds: How long to wait for an answer from an address.

    Raises:
        ConfigError: There is no such dataset.
        SourceError: A file is missing, empty or damaged.
        ChecksumMismatch: A file is not the published one.
        ServiceError: An address does not answer.
    """
    dataset = get_dataset(name)
    bundled = None if location else dataset.bundled_folder
    place = location or (str(bundled) if bundled else data_dir)

    def find(file: PublishedFile) -> SourceFile:
        if place is None or remote.is_remote(place):
            addresses = _candidates(place, dataset, file) if place else [file.url or ""]
            return _fetched(addresses, file, checksum, downloads / dataset.name, timeout_seconds)
        folder = Path(place.removeprefix("file://")).expanduser().absolute()
        return _checked(_in_folder(folder, dataset, file), file, checksum)

    with ThreadPoolExecutor(max_workers=len(dataset.files)) as threads:
        files = tuple(threads.map(find, dataset.files))
    content = "\n".join(f"{file.name} {file.sha256}" for file in files)
    return Source(
        dataset=name,
        location=remote.shown(place) if place and remote.is_remote(place) else place or PUBLIC,
        files=files,
        digest=hashlib.sha256(content.encode()).hexdigest(),
    )


def _file_names(dataset: Dataset, file: PublishedFile) -> list[str]:
    names = [file.name, f"{file.name}.gz"]
    return [*names, f"{Path(file.name).stem}.parquet"] if len(dataset.files) == 1 else names


def _candidates(place: str, dataset: Dataset, file: PublishedFile) -> list[str]:
    names = _file_names(dataset, file)
    below = [*(f"{dataset.folder}/{name}" for name in names), *names]
    if not remote.is_remote(place):
        return [f"{place}/{path}" for path in below]
    parts = urlsplit(place)  # a query, such as an access key, stays at the end
    return [parts._replace(path=f"{parts.path.rstrip('/')}/{path}").geturl() for path in below]


def _in_folder(folder: Path, dataset: Dataset, file: PublishedFile) -> Path:
    if not folder.is_dir():
        raise SourceError(
            f"{folder} is {'a file' if folder.exists() else 'not there'}; expected a folder with "
            f"the files of {dataset.name}. {POINT_AT}."
        )
    for candidate in _candidates(str(folder), dataset, file):
        if Path(candidate).is_file():
            return Path(candidate)
    raise SourceError(
        f"There is no {_sought(dataset, file)} in {folder} or its folder {dataset.folder}. "
        f"{_where_from(file)}{POINT_AT}."
    )


def _fetched(
    addresses: list[str],
    file: PublishedFile,
    checksum: Checksum,
    downloads: Path,
    timeout_seconds: float,
) -> SourceFile:
    """The file from the first of the addresses that has it, kept in the downloads folder."""
    folder = downloads / hashlib.sha256(addresses[0].encode()).hexdigest()[:12]
    targets = [folder / PurePosixPath(urlsplit(address).path).name for address in addresses]
    if checksum == "published" and file.sha256 is not None:
        for target in targets:
            try:
                if target.is_file():
                    return _checked(target, file, checksum)
            except SourceError as error:
                logger.warning("%s It is fetched again.", error)
    with disk_errors(str(downloads)):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as aside:
            for address, target in zip(addresses, targets, strict=True):
                new = Path(aside) / target.name
                if remote.fetch(address, new, timeout_seconds):
                    checked = _checked(new, file, checksum, remote.shown(address))
                    new.replace(target)
                    return checked.model_copy(update={"path": str(target)})
    raise SourceError(
        f"There is no {file.name} at {remote.shown(addresses[0])}"
        f"{' or near it' if len(addresses) > 1 else ''}, or it may not be read. "
        f"{_where_from(file)}{POINT_AT}."
    )


def _checked(
    path: Path, file: PublishedFile, checksum: Checksum, origin: str | None = None
) -> SourceFile:
    """The file with its digest; `origin` is how messages call it."""
    received, size = _digest(path, origin)
    name = origin or path
    if size == 0:
        raise SourceError(f"The file {name} is empty once unpacked. {_where_from(file)}{POINT_AT}.")
    if checksum == "published" and file.sha256 not in {None, received}:
        raise ChecksumMismatch(
            f"The file {name} has the sha256 {received} (unpacked); the published {file.name} has "
            f"{file.sha256}. Get it anew, or accept data of your own with "
            "--set ingestion.checksum=none."
        )
    return SourceFile(name=file.name, path=str(path), sha256=received, size=size)


def require_unchanged(source: Source) -> None:
    """Makes sure that the files of a source still hold what they held when they were found.

    Raises:
        SourceError: One was changed or removed since.
    """
    for file in source.files:
        received, _ = _digest(Path(file.path))
        if received != file.sha256:
            raise SourceError(
                f"The file {file.path} was changed while it was read: it has the sha256 "
                f"{received} (unpacked); expected {file.sha256}, as when the run began. Run again."
            )


def _digest(path: Path, origin: str | None = None) -> tuple[str, int]:
    """The sha256 of a file's unpacked bytes, and their number."""
    digest, size = hashlib.sha256(), 0
    with unpacked(path, origin) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def _sought(dataset: Dataset, file: PublishedFile) -> str:
    *some, last = _file_names(dataset, file)
    return f"{', '.join(some)} or {last}"


def _where_from(file: PublishedFile) -> str:
    return f"Get it from {file.url}. " if file.url else ""
