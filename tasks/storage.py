"""Content-addressed files behind an address: a local folder, or anything fsspec knows.

Same bytes, same address. A file is written aside and then renamed (or put in one piece, on an
object store), so a half-written one is never visible; stored files are read-only and never changed
in place. Records are the one thing that is found by name: small JSON values, replaced as a whole.
"""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tasks.errors import RoundhouseError, ServiceError, StorageError
from tasks.handoffs import Arrays, StoredFile
from tasks.remote import said_by_system, scrubbed, shown
from tasks.scratch import private_folder, scratch_file, scratch_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)


def file_sha256(path: Path) -> str:
    """Digest of a file's bytes, hexadecimal, read in chunks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Storage:
    """Files and records under one root.

    Args:
        uri: The root: a folder, or an fsspec address such as `s3://bucket/prefix`.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.is_local = "://" not in uri or uri.startswith("file://")
        self._root = Path(uri.removeprefix("file://"))

    def put_bytes(self, content: bytes, suffix: str = "") -> StoredFile:
        """Stores bytes and returns where they are; storing the same again writes nothing."""
        digest = hashlib.sha256(content).hexdigest()
        uri = self._content_uri(digest, suffix)
        stored = StoredFile(uri=uri, sha256=digest, size=len(content))
        if not self.has(stored):
            self._write(uri, content, read_only=True)
        return stored

    def put_file(self, path: Path, suffix: str | None = None) -> StoredFile:
        """Stores a copy of a file and returns where it is."""
        digest, size = file_sha256(path), path.stat().st_size
        uri = self._content_uri(digest, path.suffix if suffix is None else suffix)
        stored = StoredFile(uri=uri, sha256=digest, size=size)
        if not self.has(stored):
            self._copy_in(path, uri)
        return stored

    def path(self, stored: StoredFile) -> Path:
        """A local path to a stored file, fetched first where the storage is remote.

        Raises:
            StorageError: The file is gone, or its bytes are not what was stored.
            ServiceError: The storage does not answer.
        """
        stored = self.own(stored)
        # Keras tells a file's kind by its suffix, of which the digest has none
        name = stored.uri.rpartition("/")[2]
        copy = None if self.is_local else private_folder() / name
        if copy is not None and copy.is_file() and file_sha256(copy) == stored.sha256:
            return copy
        if not self.has(stored):
            raise StorageError(
                f"The stored file {stored.uri} is missing or cut short; expected {stored.size} "
                "bytes. Run the pipeline again with --force to make it anew."
            )
        return Path(stored.uri) if copy is None else self._fetched(stored, copy)

    def read_bytes(self, stored: StoredFile) -> bytes:
        """The bytes of a stored file, checked against its digest."""
        content = self.path(stored).read_bytes()
        if hashlib.sha256(content).hexdigest() != stored.sha256:
            raise StorageError(
                f"The stored file {stored.uri} was changed after it was written; expected sha256 "
                f"{stored.sha256}. Delete it and run the pipeline again with --force."
            )
        return content

    def array(self, stored: StoredFile, *, is_mapped: bool = False) -> "NDArray[Any]":
        """The array of a stored .npy; one that `is_mapped` is read-only and stays in the file."""
        import numpy as np

        mode: Literal["r"] | None = "r" if is_mapped else None
        array: NDArray[Any] = np.load(self.path(stored), mmap_mode=mode, allow_pickle=False)
        return array

    def inputs_and_labels(self, side: Arrays) -> "tuple[NDArray[Any], NDArray[Any]]":
        """What a model is given of a side's rows and what it is to answer, both mapped."""
        inputs, labels = (self.array(file, is_mapped=True) for file in (side.inputs, side.labels))
        return inputs, labels

    def has(self, stored: StoredFile) -> bool:
        """Whether a stored file is there in full."""
        uri = self.own(stored).uri
        if self.is_local:
            return Path(uri).is_file() and Path(uri).stat().st_size == stored.size
        with self._store() as filesystem:
            try:
                return bool(filesystem.size(uri) == stored.size)
            except FileNotFoundError:
                return False

    def own(self, stored: StoredFile) -> StoredFile:
        """The same bytes at their address in this storage, which may have moved since."""
        suffix = stored.uri.rpartition("/")[2].removeprefix(stored.sha256)
        return stored.model_copy(update={"uri": self._content_uri(stored.sha256, suffix)})

    def write_record(self, name: str, content: str) -> None:
        """Writes or replaces a record."""
        self._write(f"{self.uri}/records/{name}.json", content.encode(), read_only=False)

    def read_record(self, name: str) -> str | None:
        """A record's content; None where there is none."""
        uri = f"{self.uri}/records/{name}.json"
        if self.is_local:
            try:
                with disk_errors(self.uri, "read from"):
                    return self._local(uri).read_text()
            except FileNotFoundError:
                return None
        with self._store() as filesystem:
            return str(filesystem.cat_file(uri).decode()) if filesystem.exists(uri) else None

    def named_path(self, name: str) -> Path:
        """Where a file that changes until it is finished lies on this machine, if it is there.

        A local storage's own file, otherwise a copy, fetched now. Whoever changes it writes aside
        and renames, then calls `publish_named`.
        """
        if self.is_local:
            return self._root / "unfinished" / name
        local = private_folder() / hashlib.sha256(self.uri.encode()).hexdigest() / name
        with self._store() as filesystem:
            if filesystem.exists(self._named_uri(name)):
                local.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with _written_aside(local, private_folder()) as aside:
                    filesystem.get_file(self._named_uri(name), str(aside))
        return local

    def publish_named(self, name: str, path: Path) -> None:
        """Sends a changed named file to a remote storage; a local one has it already."""
        if not self.is_local:
            with self._store() as filesystem:
                filesystem.put_file(str(path), self._named_uri(name))

    def delete_named(self, name: str, path: Path) -> None:
        """Forgets a named file, here and in the storage, and what was written aside of it."""
        path.unlink(missing_ok=True)
        for aside in path.parent.glob(f"{path.name}.*"):
            aside.unlink(missing_ok=True)
        if not self.is_local:
            with self._store() as filesystem:
                if filesystem.exists(self._named_uri(name)):
                    filesystem.rm_file(self._named_uri(name))

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """A scratch folder, on the storage's own disk where that is local, removed at the end."""
        with disk_errors(self.uri):
            parent = self._unfinished() if self.is_local else None
            with scratch_folder(parent) as folder:
                yield folder

    def _unfinished(self) -> Path:
        """Where a local storage has what is not finished: on its own disk, to be renamed from."""
        folder = self._root / "unfinished"
        self._make_folder(folder)
        return folder

    def _content_uri(self, digest: str, suffix: str) -> str:
        root = str(self._root.absolute()) if self.is_local else self.uri
        return f"{root}/content/{digest[:2]}/{digest}{suffix}"

    def _named_uri(self, name: str) -> str:
        return f"{self.uri}/unfinished/{name}"

    def _local(self, uri: str) -> Path:
        return Path(uri.removeprefix("file://"))

    @contextlib.contextmanager
    def _store(self) -> Iterator[Any]:  # fsspec ships no types
        """The client of a remote storage; what it raises becomes a sentence."""
        import fsspec

        try:
            filesystem = fsspec.core.url_to_fs(self.uri)[0]
        except (ImportError, ValueError) as error:
            raise StorageError(
                f"The storage {shown(self.uri)} cannot be opened: {scrubbed(str(error))}. Install "
                "what its protocol needs, or set ROUNDHOUSE_STORAGE to a folder."
            ) from None
        with disk_errors(self.uri), _store_errors(self.uri):
            yield filesystem

    def _make_folder(self, folder: Path) -> None:
        with disk_errors(self.uri):
            folder.mkdir(parents=True, exist_ok=True)

    def _write(self, uri: str, content: bytes, *, read_only: bool) -> None:
        if not self.is_local:
            with self._store() as filesystem:
                filesystem.pipe_file(uri, content)
            return
        target = self._local(uri)
        self._make_folder(target.parent)
        with disk_errors(self.uri), _written_aside(target, self._unfinished()) as aside:
            aside.write_bytes(content)
            if read_only:
                aside.chmod(0o444)

    def _copy_in(self, path: Path, uri: str) -> None:
        if not self.is_local:
            with self._store() as filesystem:
                filesystem.put_file(str(path), uri)
            return
        target = self._local(uri)
        self._make_folder(target.parent)
        with disk_errors(self.uri), _written_aside(target, self._unfinished()) as aside:
            shutil.copyfile(path, aside)
            aside.chmod(0o444)

    def _fetched(self, stored: StoredFile, target: Path) -> Path:
        with self._store() as filesystem, _written_aside(target, private_folder()) as aside:
            filesystem.get_file(stored.uri, str(aside))
            if file_sha256(aside) != stored.sha256:
                raise StorageError(
                    f"The stored file {stored.uri} is not what was written; expected sha256 "
                    f"{stored.sha256}. Run the pipeline again with --force to make it anew."
                )
        return target


@contextlib.contextmanager
def _written_aside(target: Path, place: Path) -> Iterator[Path]:
    """A path on the target's disk; what is written there takes the target's place at the end."""
    with scratch_file(place) as aside:
        yield aside
        with aside.open("rb") as stream:
            os.fsync(stream.fileno())
        aside.replace(target)


@contextlib.contextmanager
def _store_errors(uri: str) -> Iterator[None]:
    """Says in a sentence that a remote storage does not answer; what this machine lacks passes."""
    try:
        yield
    except RoundhouseError:
        raise
    except Exception as error:  # every store has its own exceptions
        if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
            raise
        if isinstance(error, PermissionError):
            raise StorageError(
                f"The storage {shown(uri)} refuses to be read or written with the credentials at "
                "hand. Set those of its object store, or set ROUNDHOUSE_STORAGE to another place."
            ) from None
        said = said_by_system(error) or type(error).__name__
        raise ServiceError(
            f"The storage {shown(uri)} did not answer, or broke off: {said}. See whether it is "
            "there, or set ROUNDHOUSE_STORAGE to another place, and run again: what is done is "
            "not done twice."
        ) from None


@contextlib.contextmanager
def disk_errors(place: str, attempt: str = "write to") -> Iterator[None]:
    """Says in a sentence what a full or read-only disk means; other errors pass.

    Args:
        place: The storage or folder.
        attempt: What is tried with it.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in CANNOT_WRITE or isinstance(error, StorageError):
            raise
        raise StorageError(
            f"Cannot {attempt} {place}: {error.strerror or error}. Free some space or make it "
            "writable, or set ROUNDHOUSE_HOME or ROUNDHOUSE_STORAGE to another place."
        ) from error
