"""Finds the source files of a dataset, complete and unchanged: in a folder or at an address.

Runs at the start of every run to see whether anything changed, so it reads each file once and
parses none. Digests are of unpacked bytes: a `.gz` that was packed anew holds the same content.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from tasks import image_folders, remote
from tasks.datasets import Dataset, PublishedFile, get_dataset
from tasks.errors import ChecksumMismatch, SourceError
from tasks.formats import unpacked
from tasks.handoffs import Source, SourceFile
from tasks.scratch import process_folder
from tasks.stores import disk_errors

logger = logging.getLogger(__name__)
Checksum = Literal["published", "none"]
PUBLIC = "public address"
MADE = "made here"
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
    privacy_key: str = "",
) -> Source:
    """The source files of a dataset, each on this machine and checked.

    Looked for at `location`; else, unless a package bundles them or they are made, at `data_dir`;
    else in that package or at their public addresses, or made. A location may hold the files packed
    (`.gz`) or not, directly or in the dataset's folder, or one Parquet file with the dataset's
    columns; for a dataset that is a folder, it is that folder. Files from an address are fetched
    once; with the checksum "none", or where none was published, they may have grown, and are
    fetched anew. Those of a dataset with protected columns are raw, so they go with the process.

    Args:
        name: Name of the dataset.
        location: A folder, http(s) address or object-store address, from the configuration.
        data_dir: The same, from the settings.
        checksum: `published`: refuse any but the published bytes.
        downloads: Folder for fetched files that may be kept.
        timeout_seconds: How long to wait for an answer from an address.
        privacy_key: Id of the key by which its columns are hashed; empty where none is.

    Raises:
        ConfigError: There is no such dataset.
        SourceError: A file is missing, empty or damaged.
        ChecksumMismatch: A file is not the published one.
        ServiceError: An address does not answer.
    """
    dataset = get_dataset(name)
    if any(column.protection != "none" for column in dataset.columns):
        downloads = process_folder() / "downloads"
    if dataset.is_folder:
        return _hashed_by(privacy_key, _folder_source(dataset, location, data_dir))
    bundled = None if location else dataset.bundled_folder
    # nobody keeps what can be made
    made = location is None and all(file.make for file in dataset.files)
    place = location or (str(bundled) if bundled else None if made else data_dir)

    def find(file: PublishedFile) -> SourceFile:
        if place is None and file.make:
            return _made(file, file.make, downloads / dataset.name)
        if place is None or remote.is_remote(place):
            addresses = _candidates(place, dataset, file) if place else [file.url or ""]
            return _fetched(addresses, file, checksum, downloads / dataset.name, timeout_seconds)
        folder = Path(place.removeprefix("file://")).expanduser().absolute()
        return _checked(_in_folder(folder, dataset, file), file, checksum)

    with ThreadPoolExecutor(max_workers=len(dataset.files)) as threads:
        files = tuple(threads.map(find, dataset.files))
    content = "\n".join(f"{file.name} {file.sha256}" for file in files)
    source = Source(
        dataset=name,
        location=_shown_place(place, made=made),
        files=files,
        digest=hashlib.sha256(content.encode()).hexdigest(),
    )
    return _hashed_by(privacy_key, source)


def _hashed_by(key: str, source: Source) -> Source:
    """The source as it is known by the key that its columns are hashed by: by another, others."""
    if not key:
        return source
    digest = hashlib.sha256(f"{source.digest} {key}".encode()).hexdigest()
    return source.model_copy(update={"digest": digest, "privacy_key": key})


def _folder_source(dataset: Dataset, location: str | None, data_dir: str | None) -> Source:
    """A whole folder as one source file, with the digest of all that it holds."""
    place = location or (data_dir and f"{data_dir.rstrip('/')}/{dataset.folder}")
    if not place or remote.is_remote(place):
        came = remote.shown(place) if place else "no location"
        raise SourceError(
            f"The dataset {dataset.name} came with {came}; expected a folder of this machine. Copy "
            "the images here, and set ingestion.location to their folder, or ROUNDHOUSE_DATA_DIR "
            f"to one that holds them in {dataset.folder}/."
        )
    folder = Path(place.removeprefix("file://")).expanduser().absolute()
    digest, size = image_folders.folder_digest(folder)
    file = SourceFile(name=dataset.folder, path=str(folder), sha256=digest, size=size)
    return Source(dataset=dataset.name, location=str(folder), files=(file,), digest=digest)


def _shown_place(place: str | None, *, made: bool) -> str:
    if place is None:
        return MADE if made else PUBLIC
    return remote.shown(place) if remote.is_remote(place) else place


def _made(file: PublishedFile, make: Callable[[Path], None], folder: Path) -> SourceFile:
    """The file as it is made, kept in a folder; what lies there and is another is made anew."""
    target = folder / file.name
    try:
        if target.is_file():
            return _checked(target, file, "published")
    except SourceError as error:
        logger.warning("%s It is made anew.", error)
    with disk_errors(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as aside:
            new = Path(aside) / file.name
            make(new)
            checked = _checked(new, file, "published")
            new.replace(target)
    return checked.model_copy(update={"path": str(target)})


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
        path = Path(file.path)
        received, _ = image_folders.folder_digest(path) if path.is_dir() else _digest(path)
        if received != file.sha256:
            raise SourceError(
                f"{file.path} was changed while it was read: it has the sha256 "
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
