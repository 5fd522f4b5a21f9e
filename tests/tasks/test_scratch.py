import fcntl
import os
import time
from pathlib import Path

import pytest

from tasks import scratch
from tasks.errors import StorageError
from tasks.scratch import private_folder, scratch_folder

LONG_AGO = time.time() - 2 * scratch.SWEPT_AFTER_SECONDS


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the private folder is looked for."""
    monkeypatch.setattr(scratch.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path / f"roundhouse-{os.getuid()}"


def test_the_folder_for_copies_is_readable_by_its_owner_only(place: Path) -> None:
    assert private_folder() == private_folder() == place
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_write_to_is_refused(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(StorageError, match=r"with mode 777; expected .* mode 700.*TMPDIR"):
        private_folder()


def test_a_link_to_another_folder_is_refused(place: Path, tmp_path: Path) -> None:
    place.symlink_to(tmp_path)
    with pytest.raises(StorageError, match="is a file or link of user"):
        private_folder()


def left_behind(parent: Path, name: str, when: float) -> Path:
    folder = parent / name
    folder.mkdir()
    (folder / "half").touch()
    os.utime(folder, (when, when))
    return folder


def test_only_old_folders_that_nobody_holds_are_swept(tmp_path: Path) -> None:
    old = left_behind(tmp_path, "workspace-old", LONG_AGO)
    new = left_behind(tmp_path, "workspace-new", time.time())
    used = left_behind(tmp_path, "workspace-used", LONG_AGO)
    checkpoints = left_behind(tmp_path, "checkpoints", LONG_AGO)
    handle = os.open(used, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with scratch_folder(tmp_path) as folder:
        assert sorted(tmp_path.iterdir()) == sorted([folder, new, used, checkpoints])
    os.close(handle)
    assert not old.exists()


def test_a_folder_in_use_is_held_however_old_it_is(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as first:
        os.utime(first, (LONG_AGO, LONG_AGO))
        with scratch_folder(tmp_path):
            assert first.is_dir()
