import fcntl
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks import scratch
from tasks.errors import StorageError
from tasks.scratch import private_folder, scratch_file, scratch_folder
from tasks.settings import PROJECT_FOLDER

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


def test_of_other_machines_only_what_is_old_and_held_by_nobody_is_swept(tmp_path: Path) -> None:
    old = left_behind(tmp_path, "workspace-elsewhere-old", LONG_AGO)
    new = left_behind(tmp_path, "workspace-elsewhere-new", time.time())
    used = left_behind(tmp_path, "workspace-elsewhere-used", LONG_AGO)
    checkpoints = left_behind(tmp_path, "checkpoints", LONG_AGO)
    handle = os.open(used, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with scratch_folder(tmp_path) as folder:
        assert sorted(tmp_path.iterdir()) == sorted([folder, new, used, checkpoints])
    os.close(handle)
    assert not old.exists()


def test_what_a_killed_process_of_this_machine_left_is_swept_at_once(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from tasks import scratch\n"
        "with scratch.scratch_folder(Path(sys.argv[1])) as folder, "
        "scratch.scratch_file(Path(sys.argv[1])) as file:\n"
        "    file.write_text('half'); (folder / 'half').touch(); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=False, cwd=PROJECT_FOLDER)
    assert len(list(tmp_path.iterdir())) == 2
    with scratch_file(tmp_path) as file:
        assert list(tmp_path.iterdir()) == [file]
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_use_is_held_however_old_it_is(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder, scratch_file(tmp_path) as file:
        for path in (folder, file):
            os.utime(path, (LONG_AGO, LONG_AGO))
        with scratch_folder(tmp_path):
            assert folder.is_dir()
            assert file.is_file()


def test_a_file_that_took_anothers_place_stays_there(tmp_path: Path) -> None:
    with scratch_file(tmp_path) as file:
        file.replace(tmp_path / "target")
    assert (tmp_path / "target").is_file()


def test_many_at_once_leave_each_other_alone(tmp_path: Path) -> None:
    def work(number: int) -> bool:
        with scratch_folder(tmp_path) as folder:
            (folder / "mine").write_text(str(number))
            return (folder / "mine").read_text() == str(number)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))
    assert list(tmp_path.iterdir()) == []
