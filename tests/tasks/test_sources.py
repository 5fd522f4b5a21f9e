import gzip
import hashlib
import http.server
import threading
import traceback
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.datasets import DATASETS, get_dataset
from tasks.errors import ChecksumMismatch, ConfigError, ServiceError, SourceError
from tasks.sources import find_source

CSV = "Telco-Customer-Churn.csv"


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; remembers what was asked for; fails below /busy and /refused."""

    asked: list[str] = []  # noqa: RUF012 # shared on purpose

    def do_GET(self) -> None:
        self.asked.append(self.path)
        failures = {"busy": 503, "refused": 401}
        code = failures.get(self.path.split("/")[1])
        if code:
            self.send_error(code)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path):
    """The address of a server of the folder `data`."""
    Server.asked.clear()
    handler = partial(Server, directory=str(tmp_path / "data"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def find(tmp_path: Path):
    return partial(
        find_source,
        "telco_churn",
        checksum="none",
        downloads=tmp_path / "downloads",
        timeout_seconds=3,
    )


def test_bundled_files_are_found_without_any_setting(tmp_path):
    source = find_source("digits", data_dir=str(tmp_path), downloads=tmp_path)
    assert source.files[0].sha256 == DATASETS["digits"].files[0].sha256
    assert list(tmp_path.iterdir()) == []


def test_a_location_goes_before_bundled_files(tmp_path):
    (tmp_path / "digits.csv").write_text("1,2,3\n")
    source = find_source("digits", location=str(tmp_path), checksum="none", downloads=tmp_path)
    assert source.files[0].path == str(tmp_path / "digits.csv")


def test_the_data_dir_is_searched_in_the_datasets_folder_and_itself(telco_csv, find):
    assert (
        find(data_dir=str(telco_csv.parents[1])).files == find(location=str(telco_csv.parent)).files
    )


def test_a_packed_file_has_the_digest_of_its_content(telco_csv, find):
    plain = find(location=str(telco_csv.parent))
    content = telco_csv.read_bytes()
    telco_csv.with_name(f"{CSV}.gz").write_bytes(gzip.compress(content))
    telco_csv.unlink()
    packed = find(location=str(telco_csv.parent))
    assert packed.files[0].sha256 == hashlib.sha256(content).hexdigest()
    assert packed.digest == plain.digest


def test_changed_content_changes_the_digest(telco_csv, find):
    before = find(location=str(telco_csv.parent)).digest
    telco_csv.write_text(telco_csv.read_text().replace("Female", "Woman"))
    assert find(location=str(telco_csv.parent)).digest != before


def test_a_missing_file_says_where_to_get_it_and_what_points_at_it(tmp_path, find):
    with pytest.raises(SourceError) as raised:
        find(data_dir=str(tmp_path))
    message = str(raised.value)
    assert f"no {CSV}, {CSV}.gz or Telco-Customer-Churn.parquet in {tmp_path}" in message
    assert (
        "Get it from https://raw.githubusercontent.com/IBM/telco-customer-churn-on-icp4d" in message
    )
    assert "ROUNDHOUSE_DATA_DIR or --set ingestion.location" in message


def test_a_folder_that_is_not_there_is_named(tmp_path, telco_csv, find):
    with pytest.raises(SourceError, match="is not there; expected a folder"):
        find(location=str(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match="is a file; expected a folder"):
        find(location=str(telco_csv))


def test_other_bytes_than_the_published_are_refused_with_both_digests(telco_csv, find):
    with pytest.raises(ChecksumMismatch) as raised:
        find(location=str(telco_csv.parent), checksum="published")
    received = hashlib.sha256(telco_csv.read_bytes()).hexdigest()
    assert received in str(raised.value)
    assert get_dataset("telco_churn").files[0].sha256 in str(raised.value)
    assert "--set ingestion.checksum=none" in str(raised.value)


def test_a_parquet_file_is_found_for_a_dataset_of_one_file(tmp_path, find):
    pq.write_table(
        __import__("pyarrow").table({"a": [1]}), tmp_path / "Telco-Customer-Churn.parquet"
    )
    assert find(location=str(tmp_path)).files[0].path.endswith(".parquet")


@pytest.mark.parametrize(
    ("name", "content"), [(CSV, b""), (f"{CSV}.gz", gzip.compress(b"", mtime=0))]
)
def test_an_empty_file_is_refused(tmp_path, find, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match="is empty"):
        find(location=str(tmp_path))


def test_an_address_is_fetched_once(telco_csv, find, address, monkeypatch):
    digest = hashlib.sha256(telco_csv.read_bytes()).hexdigest()
    publish(monkeypatch, digest, f"{address}/telco-churn/{CSV}")
    first = find(checksum="published")
    assert find(checksum="published") == first
    assert Path(first.files[0].path).read_bytes() == telco_csv.read_bytes()
    assert Server.asked == [f"/telco-churn/{CSV}"]


def test_data_of_ones_own_is_fetched_anew(telco_csv, find, address):
    before = find(location=address)
    telco_csv.write_text(telco_csv.read_text() + "more\n")
    assert find(location=address).digest != before.digest


def test_a_file_of_which_no_digest_was_published_is_fetched_anew(
    telco_csv, find, address, monkeypatch
):
    publish(monkeypatch, None, f"{address}/telco-churn/{CSV}")
    before = find(checksum="published")
    telco_csv.write_text(telco_csv.read_text() + "more\n")
    assert find(checksum="published").digest != before.digest


def test_a_damaged_download_is_fetched_again(telco_csv, find, address, monkeypatch):
    publish(
        monkeypatch,
        hashlib.sha256(telco_csv.read_bytes()).hexdigest(),
        f"{address}/telco-churn/{CSV}",
    )
    first = find(checksum="published")
    Path(first.files[0].path).write_text("damaged")
    assert find(checksum="published") == first


def test_a_download_with_other_bytes_is_not_kept(telco_csv, tmp_path, find, address):
    with pytest.raises(
        ChecksumMismatch, match=f"The file {address}/telco-churn/{CSV} has the sha256"
    ):
        find(location=address, checksum="published")
    assert [path for path in (tmp_path / "downloads").rglob("*") if path.is_file()] == []


def test_a_location_may_be_an_address_of_packed_files(mnist_folder, tmp_path, address):
    mnist_folder.rename(tmp_path / "data")
    source = find_source("mnist", location=f"{address}/", checksum="none", downloads=tmp_path / "d")
    assert [file.size for file in source.files] == [16 + 200 * 784, 208, 16 + 60 * 784, 68]


def test_an_address_without_the_file_says_so(tmp_path, find, address):
    with pytest.raises(SourceError, match=f"There is no {CSV} at http.* or near it.*Get it from"):
        find(location=f"{address}/other")


@pytest.mark.parametrize(
    ("folder", "kind", "sentence"),
    [
        ("busy", ServiceError, "answers HTTP 503 .*Try again later"),
        ("refused", SourceError, "answers HTTP 401"),
    ],
)
def test_an_address_that_fails_is_quoted(find, address, folder, kind, sentence):
    with pytest.raises(kind, match=sentence):
        find(location=f"{address}/{folder}")


def test_an_address_that_refuses_shows_no_password(find, address):
    location = address.replace("http://", "http://me:secret@") + "/refused?key=secret"
    with pytest.raises(SourceError, match="answers HTTP 401") as raised:
        find(location=location)
    assert "secret" not in "".join(traceback.format_exception(raised.value))


def test_an_address_that_does_not_answer_shows_no_password(find):
    location = "http://me:secret@127.0.0.1:9/data?key=secret"
    with pytest.raises(ServiceError) as raised:
        find(location=location)
    assert "http://127.0.0.1:9/data" in str(raised.value)
    assert "did not answer within 3 s, or broke off: Connection refused" in str(raised.value)
    assert "secret" not in "".join(traceback.format_exception(raised.value))


def test_an_invalid_address_is_a_mistake_of_the_configuration(find):
    with pytest.raises(ConfigError, match="is not a valid one"):
        find(location="http://")


def test_an_object_store_gives_files_too(telco_csv, find):
    import fsspec

    store = fsspec.filesystem("memory")
    store.put_file(str(telco_csv), f"/bucket/telco-churn/{CSV}")
    assert find(location="memory://bucket").digest == find(location=str(telco_csv.parent)).digest
    with pytest.raises(SourceError, match=f"There is no {CSV} at memory://empty"):
        find(location="memory://empty")


def test_an_unknown_protocol_says_what_to_do(find):
    with pytest.raises(
        ConfigError, match=r"unknown://bucket.* cannot be opened.*roundhouse-ml\[s3\]"
    ):
        find(location="unknown://bucket")


@pytest.mark.parametrize(
    ("failure", "kind", "sentence"),
    [
        (PermissionError("no"), SourceError, "may not be read with the credentials at hand"),
        (RuntimeError("down"), ServiceError, "did not answer .* RuntimeError"),
    ],
)
def test_an_object_store_that_fails_is_one_sentence(find, monkeypatch, failure, kind, sentence):
    from fsspec.implementations.memory import MemoryFileSystem

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(MemoryFileSystem, "get_file", fail)
    with pytest.raises(kind, match=sentence):
        find(location="memory://bucket")


def test_an_object_store_on_s3_waits_no_longer_than_asked(find):
    location = "s3://bucket"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "key")
        with pytest.raises(ServiceError, match=r"s3://bucket/.* did not answer within 3 s"):
            find(location=location)


def publish(monkeypatch: pytest.MonkeyPatch, sha256: str | None, url: str) -> None:
    """Makes a small file the published one of the churn data."""
    import dataclasses

    dataset = DATASETS["telco_churn"]
    file = dataclasses.replace(dataset.files[0], sha256=sha256, url=url)
    changed = dataclasses.replace(dataset, files=(file,))
    monkeypatch.setitem(DATASETS, "telco_churn", changed)


def test_a_key_in_the_query_is_sent_with_each_file(telco_csv, find, address):
    source = find(location=f"{address}?key=secret")
    assert Server.asked == [f"/telco-churn/{CSV}?key=secret"]
    assert source.location == address


def test_data_that_are_made_need_no_place_and_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.remote.fetch", lambda *_: pytest.fail("it was fetched"))
    source = find_source("xor", data_dir=str(tmp_path / "nowhere"), downloads=tmp_path)
    assert source.location == "made here"
    (file,) = source.files
    assert file.sha256 == DATASETS["xor"].files[0].sha256
    assert Path(file.path).is_relative_to(tmp_path)


def test_made_data_that_were_changed_are_made_anew(tmp_path, caplog):
    (file,) = find_source("xor", downloads=tmp_path).files
    Path(file.path).write_text("left,right,either\n")
    (again,) = find_source("xor", downloads=tmp_path).files
    assert again == file
    assert "It is made anew" in caplog.text


def test_a_location_goes_before_what_is_made(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "xor.csv").write_text("left,right,either\n0.1,0.9,yes\n")
    source = find_source("xor", location=str(folder), checksum="none", downloads=tmp_path)
    assert source.files[0].path == str(folder / "xor.csv")
