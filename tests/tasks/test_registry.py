import pytest
from filelock import FileLock

from tasks import locking
from tasks.errors import ServiceError
from tasks.registry import Registry
from tasks.services import service_errors


def test_nothing_is_found_before_the_first_version(context):
    assert Registry(context).holder("champion") is None
    assert Registry(context).find({"roundhouse.fingerprint": "a"}) is None


def test_a_lock_that_is_held_too_long_is_said(context, monkeypatch):
    monkeypatch.setattr(locking, "LOCK_SECONDS", 0.05)
    path = locking.lock_path(context.mlflow_uri, "trial")
    with (
        FileLock(path),
        pytest.raises(ServiceError, match="has held the lock"),
        Registry(context).lock(),
    ):
        pass


def test_a_server_shares_its_lock_whoever_logs_in():
    first = locking.lock_path("https://me:secret@mlflow.example.org", "trial")
    assert first == locking.lock_path("https://you:other@mlflow.example.org", "trial")
    assert "secret" not in str(first)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("API request to http://x failed with exception y", "INTERNAL_ERROR"),
        ("database is locked", "TEMPORARILY_UNAVAILABLE"),
    ],
)
def test_a_silent_registry_is_a_service_error(text, code):
    from mlflow.exceptions import MlflowException

    with (
        pytest.raises(ServiceError, match="http://x does not answer"),
        service_errors("http://me:secret@x"),
    ):
        raise MlflowException(text, error_code=_number(code))


def test_other_errors_of_the_registry_pass(context):
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match="not found"):
        Registry(context).version(7)


def _number(code):
    from mlflow.protos import databricks_pb2

    return getattr(databricks_pb2, code)
