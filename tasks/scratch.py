"""Folders for what is not finished, or is only a copy: this user's own, and swept of leftovers."""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tasks.errors import StorageError

PREFIX = "workspace-"
SWEPT_AFTER_SECONDS = 24 * 3600.0


def private_folder() -> Path:
    """This user's folder for copies on this machine, made if it is not there.

    Raises:
        StorageError: Something of that name is there that others own or can write to.
    """
    folder = Path(tempfile.gettempdir()) / f"roundhouse-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if is_ours and not stat.S_IMODE(found.st_mode) & 0o077:
        return folder
    kind = "folder" if stat.S_ISDIR(found.st_mode) else "file or link"
    raise StorageError(
        f"{folder} is a {kind} of user {found.st_uid} with mode {stat.S_IMODE(found.st_mode):o}; "
        f"expected a folder of user {os.getuid()} with mode 700, as its name can be guessed. "
        "Remove it, or set TMPDIR to a folder of your own."
    )


@contextlib.contextmanager
def scratch_folder(parent: Path | None) -> Iterator[Path]:
    """A folder that is removed at the end; those that killed processes left are removed first.

    Args:
        parent: Where to make it; None makes it in the system's temporary folder.
    """
    if parent is not None:
        _sweep(parent)
    with tempfile.TemporaryDirectory(dir=parent, prefix=PREFIX) as folder, _held(Path(folder)):
        yield Path(folder)


def _sweep(parent: Path) -> None:
    """Removes the old scratch folders that no process holds any more."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            is_old = time.time() - folder.stat().st_mtime > SWEPT_AFTER_SECONDS
            if is_old:
                with _held(folder):
                    shutil.rmtree(folder)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """While it lasts, or until the process dies, no other can hold the folder.

    Raises:
        BlockingIOError: Another process holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        # a training of days writes into its folder at its end only, so its age says nothing
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
