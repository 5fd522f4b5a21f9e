"""What is not finished, or is only a copy: in this user's own places, and swept of leftovers."""

import atexit
import contextlib
import fcntl
import functools
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tasks.errors import StorageError

PREFIX = "workspace-"
# of another machine's leftovers, on a disk that both see, locks may not tell
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
    """A folder that is removed at the end; what killed processes left is removed first.

    Args:
        parent: Where to make it; None makes it in this user's folder for copies.
    """
    with contextlib.ExitStack() as stack:
        with _alone(parent or private_folder()) as place:
            made = tempfile.TemporaryDirectory(dir=place, prefix=_own_prefix())
            folder = Path(stack.enter_context(made))
            stack.enter_context(_held(folder))
        yield folder


@contextlib.contextmanager
def scratch_file(parent: Path) -> Iterator[Path]:
    """An empty file that is removed at the end if it is still there, as `scratch_folder` is.

    Args:
        parent: Where to make it.
    """
    with contextlib.ExitStack() as stack:
        with _alone(parent) as place:
            handle, name = tempfile.mkstemp(dir=place, prefix=_own_prefix())
            os.close(handle)
            stack.callback(Path(name).unlink, missing_ok=True)
            stack.enter_context(_held(Path(name)))
        yield Path(name)


def process_folder() -> Path:
    """This process's own folder for what may not outlive it, readable by its user only.

    Removed when the process ends; of one that was killed, by the next that makes such a folder.
    """
    return _folder_of(os.getpid())


@functools.cache
def _folder_of(process: int) -> Path:
    """The folder of a process, which holds it until it ends.

    Args:
        process: Its number, as a fork must not share the folder of its parent.
    """
    holding = contextlib.ExitStack()
    folder = holding.enter_context(scratch_folder(None))

    def close() -> None:
        if os.getpid() == process:
            holding.close()

    atexit.register(close)
    return folder


def _own_prefix() -> str:
    return f"{PREFIX}{socket.gethostname()}-"


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[Path]:
    """A place, swept, in which no other process makes anything while it lasts.

    Until it is held, what is made there looks like what a killed process left.
    """
    handle = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _sweep(place)
        yield place
    finally:
        os.close(handle)


def _sweep(place: Path) -> None:
    """Removes what no process holds any more; of other machines only what is old as well."""
    for left in place.glob(f"{PREFIX}*"):
        # the rest of a name, which is chance, has no hyphen
        is_own = f"{left.name.rpartition('-')[0]}-" == _own_prefix()
        with contextlib.suppress(OSError):
            if is_own or time.time() - left.stat().st_mtime > SWEPT_AFTER_SECONDS:
                with _held(left):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """While it lasts, or until the process dies, no other can hold the file or folder.

    Raises:
        BlockingIOError: Another process holds it.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        # a training of days writes into its folder at its end only, so its age says nothing
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
