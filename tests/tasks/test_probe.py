import email.utils
import http.server
import threading
import time

import pytest

from tasks import probe
from tasks.settings import Settings

KILOBYTE = 1024


@pytest.fixture
def server_at():
    """A server whose clock is so many seconds ahead: (seconds) -> address."""
    started = []

    def start(seconds):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()

            def date_time_string(self, timestamp=None):
                return email.utils.formatdate(time.time() + seconds, usegmt=True)

            def log_message(self, *arguments):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def test_a_storage_is_written_and_read_and_left_as_it_was(tmp_path):
    trial = probe.try_storage(str(tmp_path / "storage"), size=KILOBYTE)
    assert trial.problem == ""
    assert trial.place == str(tmp_path / "storage")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_remote_storage_is_left_as_it_was():
    import fsspec

    assert probe.try_storage("memory://probed", size=KILOBYTE).problem == ""
    assert fsspec.filesystem("memory").find("/probed") == []


def test_a_storage_that_gives_back_other_bytes_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(probe.os, "urandom", lambda size: b"x" * size)
    publish = probe.Storage.publish_named

    def spoil(storage, name, path):
        path.write_bytes(b"y")
        publish(storage, name, path)

    monkeypatch.setattr(probe.Storage, "publish_named", spoil)
    trial = probe.try_storage(str(tmp_path), size=KILOBYTE)
    assert "gave back 1 other bytes than the 1,024 that were written" in trial.problem


def test_a_storage_that_cannot_be_written_says_how_to_mend_it(tmp_path):
    (tmp_path / "file").touch()
    trial = probe.try_storage(str(tmp_path / "file" / "storage"), size=KILOBYTE)
    assert "Not a directory" in trial.problem
    assert "ROUNDHOUSE_STORAGE" in trial.problem


def test_artefacts_are_written_where_the_experiments_keep_theirs(context, tmp_path):
    settings = Settings(home=tmp_path)
    (trial,) = probe.try_artifacts(settings, ["trial", "no such"], size=KILOBYTE)
    assert trial.problem == ""
    assert trial.place == (tmp_path / "artifacts").as_uri()
    assert not list((tmp_path / "artifacts").glob("probe-*"))


def test_without_experiments_the_settings_say_where_artefacts_would_be(tmp_path):
    settings = Settings(home=tmp_path, artifacts="s3://bucket/models")
    assert probe.artifact_roots(settings, ["digits"]) == ("s3://bucket/models",)


def test_an_mlflow_that_is_away_shows_no_password(tmp_path):
    settings = Settings(home=tmp_path).model_copy(
        update={"tracking_uri": "http://ada:planted-secret@127.0.0.1:9"}
    )
    (trial,) = probe.try_artifacts(settings, [])
    assert "does not answer" in trial.problem
    assert "planted-secret" not in trial.model_dump_json()


@pytest.mark.parametrize("seconds", [0, 100, -100])
def test_a_servers_clock_is_read(server_at, seconds):
    assert probe.clock_offset(server_at(seconds), 5.0) == pytest.approx(seconds, abs=2)


def test_a_server_that_is_away_tells_no_time():
    assert probe.clock_offset("http://127.0.0.1:9", 1.0) is None


def test_each_disk_is_told_once_also_of_folders_that_are_to_be_made(tmp_path):
    (disk,) = probe.find_disks([str(tmp_path), str(tmp_path / "a" / "b"), "s3://bucket"])
    assert disk.folder == str(tmp_path)
    assert 0 < disk.free < disk.total


def test_versions_are_those_that_are_installed():
    import prefect

    assert probe.find_versions()["prefect"] == prefect.__version__
