"""A storage with a key: nothing under its root can be read, and its readers notice nothing."""

import logging
import secrets
import stat
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest

from tasks.errors import StorageError
from tasks.scratch import process_folder
from tasks.storage import Storage, _tell_plain

KEY = "ROUNDHOUSE_STORAGE_KEY"
SECRET = b"Ada Lovelace"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    text = secrets.token_hex(32)
    monkeypatch.setenv(KEY, text)
    return text


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "storage")
    return f"memory://encrypted-{tmp_path.name}"


def contents(place: str) -> bytes:
    filesystem, root = fsspec.core.url_to_fs(place)
    return b"".join(filesystem.cat_file(path) for path in filesystem.find(root))


def test_nothing_plain_is_under_its_root(place: str, tmp_path: Path) -> None:
    storage, named = Storage(place), "checkpoints/a.npz"
    (tmp_path / "rows.csv").write_bytes(SECRET)
    stored = [storage.put_bytes(SECRET, ".txt"), storage.put_file(tmp_path / "rows.csv")]
    storage.write_record("stage/key", SECRET.decode())
    unfinished = storage.named_path(named)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    unfinished.write_bytes(SECRET)
    storage.publish_named(named, unfinished)
    with storage.workspace() as folder:
        (folder / "half").write_bytes(SECRET)
        assert SECRET not in contents(place)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    unfinished.unlink()
    again = Storage(place)
    assert [again.read_bytes(file) for file in stored] == [SECRET, SECRET]
    assert [again.path(file).suffix for file in stored] == [".txt", ".csv"]
    assert again.read_record("stage/key") == SECRET.decode()
    assert again.named_path(named).read_bytes() == SECRET
    again.delete_named(named, again.named_path(named))
    assert not again.named_path(named).exists()


def test_a_reader_gets_a_private_copy_once(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    np.save(tmp_path / "rows.npy", np.arange(5))
    stored = storage.put_file(tmp_path / "rows.npy")
    assert stored.size == (tmp_path / "rows.npy").stat().st_size
    path = storage.path(stored)
    assert path == Storage(str(tmp_path)).path(stored)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(process_folder().stat().st_mode) == 0o700
    assert storage.array(stored, is_mapped=True).tolist() == [0, 1, 2, 3, 4]


def test_copies_go_with_their_process(tmp_path: Path) -> None:
    stored = Storage(str(tmp_path)).put_bytes(SECRET)
    code = (
        "import sys; from tasks.handoffs import StoredFile; from tasks.storage import Storage\n"
        f"stored = StoredFile.model_validate_json('''{stored.model_dump_json()}''')\n"
        f"path = Storage({str(tmp_path)!r}).path(stored)\n"
        "assert path.read_bytes() == b'Ada Lovelace'; print(path)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip()).parent.exists()


def test_without_the_key_nothing_opens(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(place)
    stored = storage.put_bytes(SECRET)
    storage.write_record("stage/key", "1")
    for text, said in (("", "is not set"), (secrets.token_hex(32), "holds the key")):
        monkeypatch.setenv(KEY, text)
        other = Storage(place)
        for attempt, argument in (
            (other.path, stored),
            (other.put_bytes, b"new"),
            (other.read_record, "stage/key"),
            (other.named_path, "checkpoints/a.npz"),
        ):
            with pytest.raises(StorageError, match=rf"is encrypted with .*{KEY} {said}.*Set {KEY}"):
                attempt(argument)


def test_a_changed_file_does_not_open(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    stored = storage.put_bytes(SECRET)
    path = Path(stored.uri)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(StorageError, match="changed or cut short after it was written"):
        storage.path(stored)
    path.write_bytes(b"")
    assert not storage.has(stored)
    with pytest.raises(StorageError, match="missing or cut short; expected 12 bytes"):
        storage.path(stored)


def test_what_was_stored_before_the_key_is_read_made_anew_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    monkeypatch.delenv(KEY)
    before = Storage(str(tmp_path)).put_bytes(SECRET)
    monkeypatch.setenv(KEY, key)
    storage = Storage(str(tmp_path))
    _tell_plain.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert [storage.read_bytes(before) for _ in range(2)] == [SECRET, SECRET]
    assert sum("are not encrypted" in message for message in caplog.messages) == 1
    assert not storage.has(before)
    assert storage.can_read(before)
    assert storage.has(storage.put_bytes(SECRET))
    # once it is deleted, as it says, whoever knows the old address finds what was made anew
    Path(before.uri).unlink()
    assert storage.can_read(before)
    assert storage.read_bytes(before) == SECRET
