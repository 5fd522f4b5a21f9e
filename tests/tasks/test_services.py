import http.server
import threading
import traceback

import pytest

from tasks import tracking
from tasks.errors import ConfigError, ServiceError
from tasks.remote import holds_secret, scrubbed
from tasks.services import service_errors


@pytest.fixture
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def gone(context):
    """The context of a run whose server went away; nothing listens at its address."""
    return context.model_copy(update={"mlflow_uri": "http://me:hush@127.0.0.1:9"})


@pytest.mark.parametrize(
    "ask",
    [
        lambda context: tracking.open_experiment(context.mlflow_uri, "trial", None),
        lambda context: tracking.open_run(context.mlflow_uri, "0", "x", {}, {}),
        lambda context: tracking.log_epoch(context, 1, {"loss": 1.0}),
        lambda context: tracking.logged_epochs(context, "loss"),
        lambda context: tracking.log_stage_seconds(context, "x", 1.0),
        lambda context: tracking.describe_run(context, "x"),
        lambda context: tracking.log_files(context, {"a.txt": "x"}),
    ],
)
def test_a_server_that_went_away_is_one_sentence_without_its_password(context, no_retries, ask):
    with pytest.raises(ServiceError) as raised:
        ask(gone(context))
    assert "MLflow at http://127.0.0.1:9 does not answer (Connection refused)" in str(raised.value)
    assert "ROUNDHOUSE_TRACKING_URI" in str(raised.value)
    assert "hush" not in "".join(traceback.format_exception(raised.value))


def test_the_first_error_is_seen_though_nothing_can_be_recorded(context, no_retries, caplog):
    with pytest.raises(ArithmeticError, match="first"), tracking.recorded(gone(context)):
        raise ArithmeticError("first")
    assert "could not be recorded" in caplog.text
    assert "hush" not in caplog.text


def test_a_monitor_that_breaks_ends_no_run(context, monkeypatch, caplog):
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    def fail(*_: object) -> None:
        raise OSError("http://me:hush@x is gone")

    monkeypatch.setattr(SystemMetricsMonitor, "publish_metrics", fail)
    with tracking.recorded(context):
        pass
    monkeypatch.setattr(SystemMetricsMonitor, "start", fail)
    with tracking.recorded(context):
        pass
    assert tracking.client(context.mlflow_uri).get_run(context.run_id).info.status == "FINISHED"
    assert "last load is not logged: http://x is gone" in caplog.text


def test_other_errors_pass_unless_they_hold_a_password():
    with pytest.raises(KeyError), service_errors("http://me:hush@x"):
        raise KeyError("x")
    with pytest.raises(ConfigError, match=r"refuses \(403 for http://x\)") as raised:
        refuse("http://me:hush@x")
    shown = "".join(traceback.format_exception(raised.value))
    assert "hush" not in shown.replace('refuse("http://me:hush@x")', "")


def refuse(uri):
    with service_errors(uri):
        raise ValueError(f"403 for {uri}")


@pytest.mark.parametrize(
    ("status", "kind"), [(503, ServiceError), (429, ServiceError), (404, Exception)]
)
def test_a_store_of_artefacts_that_fails_is_told_from_one_that_refuses(status, kind):
    import requests

    response = requests.Response()
    response.status_code = status
    with pytest.raises(kind) as raised, service_errors("http://x"):
        raise requests.HTTPError("no", response=response)
    assert isinstance(raised.value, ServiceError) is (kind is ServiceError)


def test_a_server_that_asks_for_a_password_gets_it():
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        tracking.require_answer(f"http://me:hush@127.0.0.1:{server.server_port}", 3)
    assert asked == ["Basic bWU6aHVzaA=="]


@pytest.mark.parametrize(
    ("address", "holds"),
    [
        ("https://u:pw@host/x", True),
        ("https://token@host/x", True),
        ("https://host/x?token=t", True),
        ("s3://key:secret@bucket", True),
        ("https://host/x", False),
        ("s3://bucket/me@work", False),
        ("abfs://container@account.dfs.core.windows.net/x", False),
        ("/home/me@work/data?", False),
    ],
)
def test_what_an_address_gives_away(address, holds):
    assert holds_secret(address) is holds


def test_a_text_is_scrubbed_of_all_that_gives_away():
    text = "GET http://u:pw@h/x?key=k failed, url: /x?key=k, at https://v@h"
    assert scrubbed(text) == "GET http://h/x?... failed, url: /x?... at https://h"
    assert scrubbed("Is this the file?yes") == "Is this the file?yes"


def test_a_password_that_is_wrong_can_come_from_a_file_as_well():
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import UNAUTHENTICATED

    with pytest.raises(ConfigError, match="ROUNDHOUSE_PASSWORD_FILE"), service_errors("http://x"):
        raise MlflowException("no", error_code=UNAUTHENTICATED)
