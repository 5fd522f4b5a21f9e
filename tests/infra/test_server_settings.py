"""What the servers are told: databases, accounts, and nothing that a stranger may see."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from infra import servers
from tasks.errors import ConfigError
from tasks.settings import Settings

PASSWORD, OTHER = "a planted password", "another planted password"


@pytest.mark.parametrize("prefix", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_a_database_gets_the_driver_of_its_server(prefix: str) -> None:
    address = SecretStr(f"{prefix}://me:planted@db/name?sslmode=require")
    settings = Settings(prefect_database=address, mlflow_database=address)
    prefect = servers.prefect_server(settings).environment
    given = prefect["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    assert given == "postgresql+asyncpg://me:planted@db/name?ssl=require"
    mlflow = servers.mlflow_server(settings).environment
    given = "postgresql+psycopg://me:planted@db/name?sslmode=require"
    assert mlflow["MLFLOW_BACKEND_STORE_URI"] == given


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("prefect_database", "mysql://me:planted@db/name"),
        ("mlflow_database", "postgresql://me:planted@db"),
        ("redis", "http://:planted@cache"),
        ("redis", "redis://:planted@cache:6379/0"),
    ],
)
def test_an_address_that_cannot_be_used_is_named_and_not_shown(setting: str, value: str) -> None:
    settings = Settings(**{setting: SecretStr(value)})
    with pytest.raises(ConfigError, match=f"ROUNDHOUSE_{setting.upper()}") as caught:
        (servers.prefect_server(settings), servers.mlflow_server(settings))
    assert "planted" not in str(caught.value)


def test_a_part_shows_no_secret() -> None:
    address = SecretStr("postgresql://me:planted@db/name")
    settings = Settings(
        password=SecretStr(PASSWORD), prefect_database=address, mlflow_database=address
    )
    for part in (servers.prefect_server(settings), servers.mlflow_server(settings)):
        assert "planted" in str(part.environment)
        assert "planted" not in repr(part)
        assert "planted" not in " ".join(part.command)


def test_prefect_knows_every_setting() -> None:
    """One that was renamed would be ignored without a word."""
    import prefect.settings

    address = SecretStr("postgresql://me:planted@db/name")
    settings = Settings(
        password=SecretStr(PASSWORD),
        prefect_database=address,
        redis=SecretStr("redis://cache:6379/0"),
    )
    given = servers.prefect_server(settings).environment
    written = {name for name in given if name.startswith("PREFECT_")}
    known = {name for name in written if hasattr(prefect.settings, name)}
    assert written - known == {
        "PREFECT_REDIS_MESSAGING_URL",
        "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL",
    }


def test_a_new_password_and_a_new_user_replace_the_old(tmp_path: Path) -> None:
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    from infra.mlflow_process import prepare_accounts

    configuration = tmp_path / "mlflow-access" / "access.ini"
    store = SqlAlchemyStore()
    prepare_accounts(configuration, "admin", PASSWORD)
    store.init_db(f"sqlite:///{configuration.parent / 'accounts.db'}")
    store.create_user("colleague", OTHER)
    prepare_accounts(configuration, "admin", OTHER)
    assert store.authenticate_user("admin", OTHER)
    assert not store.authenticate_user("admin", PASSWORD)
    prepare_accounts(configuration, "chief", OTHER)
    assert {user.username: user.is_admin for user in store.list_users()} == {
        "colleague": False,
        "chief": True,
    }
