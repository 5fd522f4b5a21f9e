from pathlib import Path

import pytest

from tasks.errors import ConfigError
from tasks.settings import load_settings


def test_with_no_variable_everything_is_in_one_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settings, home = load_settings(), tmp_path / ".roundhouse"
    assert settings.home_folder == home
    assert settings.storage_uri == str(home / "storage")
    assert settings.mlflow_uri == f"sqlite:///{home / 'mlflow.db'}"
    assert {settings.artifact_folder, settings.downloads_folder, settings.log_folder} == {
        home / "artifacts", home / "downloads", home / "logs",
    }  # fmt: skip
    assert settings.prefect_api_url is None


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("ROUNDHOUSE_DATA_DIR", "s3://bucket/data", "data_dir"),
        ("ROUNDHOUSE_STORAGE", "s3://bucket/store", "storage_uri"),
        ("ROUNDHOUSE_TRACKING_URI", "http://127.0.0.1:5000", "mlflow_uri"),
        ("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000", "mlflow_uri"),
        ("ROUNDHOUSE_PREFECT_API_URL", "http://127.0.0.1:4200/api", "prefect_api_url"),
        ("PREFECT_API_URL", "http://127.0.0.1:4200/api", "prefect_api_url"),
    ],
)
def test_a_variable_changes_its_setting(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, name: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert getattr(load_settings(), name) == value


def test_our_own_variable_comes_before_mlflows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://theirs")
    monkeypatch.setenv("ROUNDHOUSE_TRACKING_URI", "http://ours")
    assert load_settings().mlflow_uri == "http://ours"


def test_the_pages_are_at_the_server_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().mlflow_pages == "http://127.0.0.1:5000"
    monkeypatch.setenv("ROUNDHOUSE_ALLOWED_HOSTS", "models.example, 10.0.0.7")
    assert load_settings().mlflow_pages == "http://models.example:5000"
    monkeypatch.setenv("ROUNDHOUSE_TRACKING_URI", "https://user:hush@models.example/")
    settings = load_settings()
    assert settings.mlflow_pages == "https://models.example"
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("ROUNDHOUSE_TIMEOUT_SECONDS", "soon", "should be a valid number"),
        ("ROUNDHOUSE_TIMEOUT_SECONDS", "0", "should be greater than 0"),
        ("ROUNDHOUSE_KEEP_DAYS", "99999999999", "should be less than or equal to 36500"),
        ("ROUNDHOUSE_PREFECT_PORT", "70000", "should be less than or equal to 65535"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=rf"Received {variable}='{value}'; .*{reason}.*unset it"):
        load_settings()


@pytest.mark.parametrize(
    ("storage", "place"), [("~/x", "/home/me/x"), ("x", str(Path("x").absolute()))]
)
def test_a_storage_folder_is_absolute_wherever_it_is_used(
    monkeypatch: pytest.MonkeyPatch, storage: str, place: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("ROUNDHOUSE_STORAGE", storage)
    assert load_settings().storage_uri == place
