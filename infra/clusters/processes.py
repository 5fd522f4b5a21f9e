"""What each pod of the servers runs: `python -m infra.clusters.processes PART`.

Its settings are those of `roundhouse up`, and what a server makes of them is said in one place for
both, infra/servers.py. What a cluster adds: the API apart from the background services, several
processes of each, and a database that one Job migrates while the others wait.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn

import typer

from infra import access, answers
from infra.clusters import migration, retention
from infra.servers import mlflow_server, prefect_server
from infra.shell import explained
from tasks.errors import ConfigError, ServiceError
from tasks.home import prepare_home
from tasks.remote import shown
from tasks.settings import Settings, load_settings

if TYPE_CHECKING:
    from types import FrameType

logger = logging.getLogger("infra.clusters.processes")

# the pages' own address, where others reach them through a proxy
PAGES = "PREFECT_UI_URL"
# what makes a client of a server; a server that found it would call itself over the network
OF_CLIENTS = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")


class Process(StrEnum):
    """The processes of a cluster's servers."""

    PREFECT = "prefect"
    PREFECT_SERVICES = "prefect-services"
    MLFLOW = "mlflow"
    MIGRATION = "migration"
    MIGRATED = "migrated"
    SERVED = "served"
    RETENTION = "retention"


def command(process: Process, settings: Settings) -> tuple[Sequence[str], Mapping[str, str]]:
    """How a server is started, and what it finds in its environment beside this process's own.

    Args:
        process: One of the three that serve.
        settings: Addresses, databases and the password.

    Raises:
        ConfigError: No password, database or Redis is set, or one cannot be used.
    """
    require_shared(settings)
    if process is Process.MLFLOW:
        part = mlflow_server(settings)
        accounts = migration.accounts_database(settings)
        return part.command, {**part.environment, "MLFLOW_ACCOUNTS_DATABASE": accounts}
    part = prefect_server(settings)
    values = {**part.environment, "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false"}
    if PAGES in os.environ:
        values[PAGES] = os.environ[PAGES]
    if process is Process.PREFECT:
        return part.command, {**values, "PREFECT__SERVER_WEBSERVER_ONLY": "true"}
    listening = (settings.host, str(settings.prefect_port))
    return (sys.executable, "-m", "infra.clusters.background", *listening), values


def require_shared(settings: Settings) -> None:
    """Makes sure that several processes of one server would share what they know.

    Raises:
        ConfigError: They would not, or would let anybody in.
    """
    access.require_credentials(settings)
    for name, value in (
        ("ROUNDHOUSE_PREFECT_DATABASE", settings.prefect_database),
        ("ROUNDHOUSE_MLFLOW_DATABASE", settings.mlflow_database),
        ("ROUNDHOUSE_REDIS", settings.redis),
        ("ROUNDHOUSE_ARTIFACTS", settings.artifacts),
    ):
        if value is None:
            raise ConfigError(
                f"{name} is not set; expected an address that every pod reaches, as what a pod "
                "keeps by itself is gone with it. Add it to the secret roundhouse-servers or to "
                "settings.env: infra/README.md says how."
            )


def await_prefect(settings: Settings, seconds: float = migration.SECONDS) -> None:
    """Waits until the Prefect API answers; a worker that finds none tries again a minute later.

    Raises:
        ConfigError: No API is named.
        ServiceError: It does not answer in time.
    """
    if settings.prefect_api_url is None:
        raise ConfigError(
            "ROUNDHOUSE_PREFECT_API_URL is not set; expected the API's address, ending in /api, in "
            "the ConfigMap roundhouse-settings."
        )
    address, deadline = shown(settings.prefect_api_url), time.monotonic() + seconds
    ready = f"{settings.prefect_api_url.rstrip('/')}/ready"
    while not answers.server_answers(ready, datetime.now(UTC)):
        if time.monotonic() > deadline:
            raise ServiceError(
                f"The Prefect API at {address} does not answer; expected it within {seconds:g} s. "
                "Look at what it says: kubectl logs deployment/prefect."
            )
        logger.info("Waiting for the Prefect API at %s.", address)
        time.sleep(migration.LOOK_SECONDS)


def run(process: Process) -> None:
    """Runs one of the processes until it is done, or told to end."""
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(message)s")
    logging.getLogger("infra").setLevel(logging.INFO)
    # the first process of a container is deaf to what it does not handle
    signal.signal(signal.SIGTERM, _end)
    with explained():
        settings = load_settings()
        prepare_home(settings)
        if process is Process.MIGRATION:
            require_shared(settings)
            migration.migrate(settings)
        elif process is Process.MIGRATED:
            migration.await_migration(settings)
        elif process is Process.SERVED:
            await_prefect(settings)
        elif process is Process.RETENTION:
            retention.collect(settings)
        else:
            _become(*command(process, settings))


def _become(command: Sequence[str], values: Mapping[str, str]) -> NoReturn:
    own = {name: value for name, value in os.environ.items() if name not in OF_CLIENTS}
    os.execve(command[0], list(command), {**own, **values})


def _end(number: int, frame: "FrameType | None") -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    typer.run(run)
