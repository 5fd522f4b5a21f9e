import errno
import stat
import traceback
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tasks.errors import ServiceError, StorageError
from tasks.handoffs import StoredFile
from tasks.scratch import private_folder
from tasks.storage import Storage
from tasks.stores import disk_errors


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    place = str(tmp_path / "storage") if request.param == "local" else f"memory://{tmp_path.name}"
    return Storage(place)


def test_same_bytes_have_the_same_address(storage: Storage) -> None:
    first = storage.put_bytes(b"engine", ".txt")
    again = storage.put_bytes(b"engine", ".txt")
    assert first == again
    assert storage.read_bytes(first) == b"engine"
    assert first.uri.endswith(f"{first.sha256}.txt")


def test_a_file_comes_back_as_it_was_put(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "rows.parquet"
    source.write_bytes(b"rows")
    stored = storage.put_file(source)
    assert storage.has(stored)
    assert storage.path(stored).read_bytes() == b"rows"
    assert stored.size == 4


def test_stored_files_are_read_only(tmp_path: Path) -> None:
    stored = Storage(str(tmp_path)).put_bytes(b"engine")
    assert stat.S_IMODE(Path(stored.uri).stat().st_mode) == 0o444


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    stored = storage.put_bytes(b"engine")
    Path(stored.uri).chmod(0o644)
    Path(stored.uri).write_bytes(b"eng")
    assert not storage.has(stored)
    with pytest.raises(StorageError, match=r"missing or cut short; expected 6 bytes.*--force"):
        storage.path(stored)


def test_a_file_that_was_cut_short_is_stored_anew(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "engine"
    source.write_bytes(b"engine")
    for put in (lambda: storage.put_bytes(b"engine"), lambda: storage.put_file(source)):
        cut_short(storage, put())
        assert storage.read_bytes(put()) == b"engine"


def cut_short(storage: Storage, stored: StoredFile) -> None:
    if storage.is_local:
        Path(stored.uri).chmod(0o644)
        Path(stored.uri).write_bytes(b"eng")
    else:
        fsspec.filesystem("memory").pipe_file(stored.uri, b"eng")
        (private_folder() / stored.sha256).unlink(missing_ok=True)
    assert not storage.has(stored)


def test_a_changed_copy_of_a_remote_file_is_fetched_again(tmp_path: Path) -> None:
    storage = Storage(f"memory://{tmp_path.name}")
    stored = storage.put_bytes(tmp_path.name.encode())
    storage.path(stored).write_bytes(b"x" * stored.size)
    assert storage.path(stored).read_bytes() == tmp_path.name.encode()


def test_a_copy_of_a_remote_file_keeps_its_kind(tmp_path: Path) -> None:
    """Keras loads by suffix alone."""
    stored = Storage(f"memory://{tmp_path.name}").put_bytes(b"a network", ".keras")
    assert Storage(f"memory://{tmp_path.name}").path(stored).suffix == ".keras"


def test_a_remote_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    storage = Storage(f"memory://{tmp_path.name}")
    stored = storage.put_bytes(b"engine that is gone")
    fsspec.filesystem("memory").rm_file(stored.uri)
    with pytest.raises(StorageError, match=r"missing or cut short.*--force"):
        storage.path(stored)


@pytest.mark.parametrize(
    ("failure", "kind", "sentence"),
    [
        (RuntimeError("http://me:hush@x"), ServiceError, "did not answer, or broke off: Runtime"),
        (ConnectionResetError(104, "reset"), ServiceError, "broke off: reset.*ROUNDHOUSE_STORAGE"),
        (PermissionError("no"), StorageError, "refuses .* credentials.*ROUNDHOUSE_STORAGE"),
        (OSError(errno.ENOSPC, "No space left"), StorageError, "No space left"),
    ],
)
def test_a_remote_storage_that_fails_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, kind: type[Exception], sentence: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", fail)
    with pytest.raises(kind, match=sentence) as raised:
        Storage("memory://bucket").put_bytes(b"new")
    assert "hush" not in "".join(traceback.format_exception(raised.value))


def test_a_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    stored = storage.put_bytes(b"engine")
    Path(stored.uri).chmod(0o644)
    Path(stored.uri).write_bytes(b"ENGINE")
    with pytest.raises(StorageError, match="was changed after it was written"):
        storage.read_bytes(stored)


def test_records_are_replaced(storage: Storage) -> None:
    assert storage.read_record("stage/key") is None
    storage.write_record("stage/key", "1")
    storage.write_record("stage/key", "2")
    assert storage.read_record("stage/key") == "2"


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "storage"))
    missing = tmp_path / "missing"
    with pytest.raises(FileNotFoundError):
        storage.put_file(missing)
    assert not list(tmp_path.rglob("*missing*"))


def test_a_workspace_is_removed(storage: Storage) -> None:
    with storage.workspace() as folder:
        (folder / "half").write_text("written")
    assert not folder.exists()


def test_a_full_disk_is_said_in_a_sentence() -> None:
    sentence = r"Cannot write to here: No space left.*Free some space"
    with pytest.raises(StorageError, match=sentence), disk_errors("here"):
        Path("/dev/full").write_text("x")


def test_other_errors_of_the_system_pass() -> None:
    with pytest.raises(FileNotFoundError), disk_errors("here"):
        Path("/does/not/exist").read_text()


def test_an_unknown_protocol_is_said_in_a_sentence() -> None:
    with pytest.raises(StorageError, match=r"nowhere://bucket cannot.*ROUNDHOUSE_STORAGE"):
        Storage("nowhere://bucket").put_bytes(b"x")


def test_a_storage_that_became_a_file_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "storage").touch()
    with pytest.raises(StorageError, match=r"Cannot read from .*: Not a directory.*STORAGE"):
        Storage(str(tmp_path / "storage")).read_record("stage/key")
