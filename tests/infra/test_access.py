"""Who is let in: passwords, the host to listen on, and the names of the servers."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from infra import access
from infra.environment import environment
from tasks.errors import ConfigError
from tasks.settings import Settings

PASSWORD = SecretStr("a planted password")
API = "http://127.0.0.1:4200/api"


def test_nobody_is_asked_for_a_password_by_default() -> None:
    assert access.credentials(Settings()) is None
    access.require_credentials(Settings())


def test_the_password_may_be_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("a planted password\n")
    settings = Settings(user="me", password_file=path)
    assert access.credentials(settings) == ("me", "a planted password")


@pytest.mark.parametrize("text", [None, "too short", "a planted password\nand another", ""])
def test_a_password_file_that_will_not_do_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "password"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=r"password.*ROUNDHOUSE_PASSWORD_FILE") as caught:
        access.credentials(Settings(password_file=path))
    assert str(path) in str(caught.value)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "models.example.org", "::"])
def test_listening_to_others_needs_a_password(host: str) -> None:
    with pytest.raises(ConfigError, match=f"Received {host} as the host.*ROUNDHOUSE_PASSWORD"):
        access.require_credentials(Settings(host=host))
    access.require_credentials(Settings(host=host, password=PASSWORD))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1", "[::1]"])
def test_this_machine_alone_needs_none(host: str) -> None:
    access.require_credentials(Settings(host=host))


def test_up_refuses_to_listen_to_others_and_starts_nothing(roundhouse: Any) -> None:
    done = roundhouse("up", "--host", "0.0.0.0")
    assert done.returncode == 1
    assert done.stderr.startswith("✗ Received 0.0.0.0 as the host to listen on, and no password")
    assert "ROUNDHOUSE_PASSWORD" in done.stderr
    assert not roundhouse.home.exists()


def test_a_password_that_is_too_short_is_refused_and_not_shown(roundhouse: Any) -> None:
    done = roundhouse("status", ROUNDHOUSE_PASSWORD="planted")
    assert done.returncode == 1
    assert "ROUNDHOUSE_PASSWORD" in done.stderr
    assert "12" in done.stderr
    assert "planted" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::", "http://[::1]:1"),
        ("10.0.0.7", "http://10.0.0.7:1"),
        ("::1", "http://[::1]:1"),
    ],
)
def test_this_machine_reaches_its_servers_whatever_they_listen_on(host: str, address: str) -> None:
    assert access.own_address(Settings(host=host), 1) == address


def test_one_setting_lists_the_names_for_both_servers() -> None:
    settings = Settings(allowed_hosts="models.example.org, ml.example.org", mlflow_port=5001)
    hosts = access.allowed_hosts(settings).split(",")
    assert {"localhost", "127.0.0.1:*", "models.example.org", "ml.example.org:*"} <= set(hosts)
    origins = access.allowed_origins(settings).split(",")
    assert {"https://models.example.org", "http://ml.example.org:5001"} <= set(origins)
    assert access.public_address(settings, 4200) == "http://models.example.org:4200"


def test_a_client_gets_the_credentials_of_both_servers() -> None:
    values = environment(Settings(password=PASSWORD, heartbeat_seconds=45), API)
    assert values["PREFECT_API_AUTH_STRING"] == "admin:a planted password"
    # a key for Prefect's cloud would be sent by some of its clients in place of the password
    assert values["PREFECT_API_KEY"] == ""
    assert values["MLFLOW_TRACKING_USERNAME"] == "admin"
    assert values["MLFLOW_TRACKING_PASSWORD"] == "a planted password"
    assert values["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "45"


def test_a_user_in_the_tracking_address_is_not_overridden() -> None:
    address = "https://me:own-planted@mlflow.example.org"
    settings = Settings(password=PASSWORD).model_copy(update={"tracking_uri": address})
    assert "MLFLOW_TRACKING_USERNAME" not in environment(settings, API)


def test_a_flow_run_elsewhere_finds_the_same_places() -> None:
    served = Settings(home=Path("here")).model_copy(
        update={"tracking_uri": "http://127.0.0.1:5000"}
    )
    values = environment(served, API)
    assert values["ROUNDHOUSE_HOME"] == str(Path.cwd() / "here")
    assert values["ROUNDHOUSE_TRACKING_URI"] == "http://127.0.0.1:5000"
    assert "ROUNDHOUSE_TRACKING_URI" not in environment(Settings(), API)
