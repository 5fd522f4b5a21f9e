"""Bytes at addresses: in a folder of this machine, or in anything fsspec knows.

A file is written aside and then renamed (or put in one piece, on an object store), so a
half-written one is never visible.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from tasks.errors import RoundhouseError, ServiceError, StorageError
from tasks.remote import said_by_system, scrubbed, shown
from tasks.scratch import scratch_file, scratch_folder

CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)


class Store:
    """Files under one root.

    Args:
        uri: The root: a folder, or an fsspec address such as `s3://bucket/prefix`.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.is_local = "://" not in uri or uri.startswith("file://")
        self.root = Path(uri.removeprefix("file://"))

    def address(self, name: str) -> str:
        """Where a file lies.

        Args:
            name: Its path below the root.
        """
        return f"{self.root.absolute() if self.is_local else self.uri}/{name}"

    def unfinished(self) -> Path:
        """Where a folder has what is not finished: on its own disk, to be renamed from."""
        folder = self.root / "unfinished"
        with disk_errors(self.uri):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def size(self, address: str) -> int | None:
        """Bytes of a file; None where there is none."""
        if self.is_local:
            path = Path(address)
            return path.stat().st_size if path.is_file() else None
        with self._filesystem() as filesystem:
            try:
                return int(filesystem.size(address))
            except FileNotFoundError:
                return None

    def read(self, address: str) -> bytes | None:
        """The bytes of a file; None where there is none."""
        if self.is_local:
            try:
                with disk_errors(self.uri, "read from"):
                    return Path(address).read_bytes()
            except FileNotFoundError:
                return None
        with self._filesystem() as filesystem:
            try:
                return bytes(filesystem.cat_file(address))
            except FileNotFoundError:
                return None

    def write(self, address: str, content: bytes, *, read_only: bool = False) -> None:
        """Writes or replaces a file as a whole."""
        if not self.is_local:
            with self._filesystem() as filesystem:
                filesystem.pipe_file(address, content)
            return
        self._place(address, lambda aside: aside.write_bytes(content), read_only=read_only)

    def copy_in(
        self,
        path: Path,
        address: str,
        *,
        read_only: bool = False,
        copy: Callable[[Path, Path], object] | None = None,
    ) -> None:
        """Writes or replaces a file by the content of one on this machine.

        Args:
            path: The file on this machine.
            address: Where it goes.
            read_only: It is never to be changed, where the store is a folder.
            copy: Copies it in another form; None copies it as it is.
        """
        if self.is_local:
            make = copy or shutil.copyfile
            self._place(address, lambda aside: make(path, aside), read_only=read_only)
            return
        if copy is None:
            with self._filesystem() as filesystem:
                filesystem.put_file(str(path), address)
            return
        with scratch_folder(None) as folder:
            copied = folder / "file"
            copy(path, copied)
            self.copy_in(copied, address)

    def copy_out(self, address: str, path: Path) -> None:
        """Fetches a file to a path of this machine."""
        with self._filesystem() as filesystem:
            filesystem.get_file(address, str(path))

    @contextlib.contextmanager
    def open(self, address: str) -> Iterator[BinaryIO]:
        """A stream of a file's bytes."""
        if self.is_local:
            with disk_errors(self.uri, "read from"), Path(address).open("rb") as stream:
                yield stream
            return
        with self._filesystem() as filesystem, filesystem.open(address, "rb") as remote:
            yield cast(BinaryIO, remote)

    def delete(self, address: str) -> None:
        """Removes a file; nothing happens where there is none."""
        if self.is_local:
            Path(address).unlink(missing_ok=True)
            return
        with self._filesystem() as filesystem:
            if filesystem.exists(address):
                filesystem.rm_file(address)

    def _place(self, address: str, write: Callable[[Path], object], *, read_only: bool) -> None:
        target = Path(address)
        with disk_errors(self.uri):
            target.parent.mkdir(parents=True, exist_ok=True)
            with written_aside(target, self.unfinished()) as aside:
                write(aside)
                if read_only:
                    aside.chmod(0o444)

    @contextlib.contextmanager
    def _filesystem(self) -> Iterator[Any]:  # fsspec ships no types
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


@contextlib.contextmanager
def written_aside(target: Path, place: Path) -> Iterator[Path]:
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
