"""The databases of a cluster's servers: brought to this version by one, awaited by all the others.

Several servers that start at once must not migrate the same database. One Job does, and leaves word
of the versions for which it did; each server's pod waits until the last word is for its own. A pod
of the former version goes on while the next one rolls out, and cannot start again: MLflow's server
takes no database that is newer than itself.
"""

import logging
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from infra import environment
from infra.servers import database_address, mlflow_server, prefect_server
from tasks.errors import ConfigError, ServiceError
from tasks.settings import Settings

if TYPE_CHECKING:
    import psycopg
    from pydantic import SecretStr

logger = logging.getLogger(__name__)

SECONDS = 600.0
LOOK_SECONDS = 2.0
_MAKE = (
    "CREATE TABLE IF NOT EXISTS roundhouse_migrations "
    "(versions text PRIMARY KEY, done_at timestamptz NOT NULL DEFAULT now())"
)
_WRITE = (
    "INSERT INTO roundhouse_migrations (versions) VALUES (%s) "
    "ON CONFLICT (versions) DO UPDATE SET done_at = now()"
)
_READ = "SELECT versions FROM roundhouse_migrations ORDER BY done_at DESC LIMIT 1"


def versions() -> str:
    """The versions of the servers whose tables are wanted."""
    return f"prefect {metadata.version('prefect')}, mlflow {metadata.version('mlflow')}"


def migrate(settings: Settings, seconds: float = SECONDS) -> None:
    """Brings both databases, and MLflow's accounts, to what the installed servers expect.

    Args:
        settings: The databases' addresses and the password.
        seconds: How long to wait for the databases themselves.

    Raises:
        ConfigError: Both addresses lead to one database, in which each would take the other's word.
        ServiceError: A database does not answer in time.
    """
    prefect, mlflow = _addresses(settings)
    if _place(prefect) == _place(mlflow):
        raise ConfigError(
            f"ROUNDHOUSE_PREFECT_DATABASE and ROUNDHOUSE_MLFLOW_DATABASE both name "
            f"{_place(prefect)}; expected two databases, as both servers keep a table "
            "alembic_version. Make a second one and name it in the secret."
        )
    _await_answer(prefect, "ROUNDHOUSE_PREFECT_DATABASE", seconds)
    _await_answer(mlflow, "ROUNDHOUSE_MLFLOW_DATABASE", seconds)
    environment.apply(prefect_server(settings).environment)
    part = mlflow_server(settings)
    environment.apply(part.environment)
    _migrate_prefect()
    _migrate_mlflow(part.environment["MLFLOW_BACKEND_STORE_URI"])
    _migrate_accounts(part.environment, accounts_database(settings))
    with _connect(mlflow) as connection:
        connection.execute(_MAKE)
        connection.execute(_WRITE, (versions(),))
    logger.info("The databases are those of %s.", versions())


def await_migration(settings: Settings, seconds: float = SECONDS) -> None:
    """Waits until the databases are what the installed servers expect.

    Raises:
        ServiceError: They are not in time.
    """
    import psycopg

    _, address = _addresses(settings)
    deadline = time.monotonic() + seconds
    while True:
        try:
            with _connect(address) as connection:
                last = connection.execute(_READ).fetchone()
            if last == (versions(),):
                return
            reason = f"they were last brought to {last[0]}" if last else "nobody migrated them"
        except psycopg.errors.UndefinedTable:
            reason = "nobody migrated them yet"
        except psycopg.OperationalError as error:
            reason = _said(error)
        if time.monotonic() > deadline:
            raise ServiceError(
                f"The databases are not those of {versions()} ({reason}); expected the Job "
                f"`migration` to have seen to it within {seconds:g} s. Look at what it says: "
                "kubectl logs job/migration; then apply the manifests again. The way back to an "
                "older version is its backup."
            )
        logger.info("Waiting for the Job `migration`: %s.", reason)
        time.sleep(LOOK_SECONDS)


def accounts_database(settings: Settings) -> str:
    """Where MLflow keeps its accounts, beside its runs, as every one of its servers needs them.

    Raises:
        ConfigError: No database is set.
    """
    return database_address(_addresses(settings)[1], "psycopg", "ROUNDHOUSE_MLFLOW_DATABASE")


def _addresses(settings: Settings) -> "tuple[SecretStr, SecretStr]":
    found = settings.prefect_database, settings.mlflow_database
    if found[0] is None or found[1] is None:
        name = "PREFECT" if found[0] is None else "MLFLOW"
        raise ConfigError(
            f"ROUNDHOUSE_{name}_DATABASE is not set; expected postgresql://user:password@host/name "
            "in the secret roundhouse-servers. Add it: infra/README.md says how."
        )
    return found[0], found[1]


def _place(address: "SecretStr") -> str:
    """A database without its user and password."""
    parts = urlsplit(address.get_secret_value())
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def _connect(address: "SecretStr") -> "psycopg.Connection[tuple[object, ...]]":
    import psycopg

    parts = urlsplit(address.get_secret_value())
    plain = parts._replace(scheme="postgresql").geturl()
    return psycopg.connect(plain, autocommit=True, connect_timeout=10)


def _await_answer(address: "SecretStr", setting: str, seconds: float) -> None:
    import psycopg

    deadline = time.monotonic() + seconds
    while True:
        try:
            _connect(address).close()
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"The database {_place(address)} does not let us in ({_said(error)}); expected "
                    f"it within {seconds:g} s. Start it, or correct {setting} in the secret "
                    "roundhouse-servers."
                ) from None
            logger.info("Waiting for the database %s.", _place(address))
        time.sleep(LOOK_SECONDS)


def _said(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__


def _migrate_prefect() -> None:
    import anyio
    from prefect.server.database.alembic_commands import alembic_upgrade

    async def upgrade() -> None:
        # it asks the loop above for its connection
        await anyio.to_thread.run_sync(alembic_upgrade)

    anyio.run(upgrade)


def _migrate_mlflow(address: str) -> None:
    from mlflow.cli import cli

    # in this process: what stands in a command line is seen by everyone
    cli(["db", "upgrade", address], standalone_mode=False)


def _migrate_accounts(values: dict[str, str], database: str) -> None:
    from infra.mlflow_process import prepare_accounts

    prepare_accounts(
        Path(values["MLFLOW_AUTH_CONFIG_PATH"]),
        values["MLFLOW_AUTH_ADMIN_USERNAME"],
        values["MLFLOW_AUTH_ADMIN_PASSWORD"],
        database,
    )
