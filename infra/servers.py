"""The servers of the stack as processes to start: their commands, databases and locks."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import SecretStr

from infra import access
from infra.environment import WITHOUT_KEYS, environment
from tasks.errors import ConfigError
from tasks.settings import Settings

EVENT_DAYS = 7


@dataclass(frozen=True)
class Part:
    """One process of the stack.

    Args:
        name: What people call it.
        command: How it is started; it never holds a secret, as everyone on the machine can see it.
        environment: What it finds in its environment; it may hold secrets, and is never shown.
        address: Where its pages are, as this machine reaches them; empty where it has none.
        health: Where it says that it is well; empty where it does not.
        setting: The variable that changes its port.
        port: The port on which it listens; None where it does not.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(repr=False, hash=False)
    address: str = ""
    health: str = ""
    setting: str = ""
    port: int | None = None


def prefect_server(settings: Settings) -> Part:
    """Prefect's API, its pages and its background services, in one process.

    Raises:
        ConfigError: A database, a Redis or a password that cannot be used.
    """
    port = settings.prefect_port
    address = access.own_address(settings, port)
    return Part(
        name="Prefect",
        command=(sys.executable, "-m", "infra.prefect_process", settings.host, str(port)),
        environment={
            **environment(settings),
            **WITHOUT_KEYS,
            **_prefect_pages(settings),
            **_prefect_storage(settings),
            **_prefect_retention(settings),
        },
        address=address,
        health=f"{address}/api/health",
        setting="ROUNDHOUSE_PREFECT_PORT",
        port=port,
    )


def mlflow_server(settings: Settings) -> Part:
    """MLflow's tracking server, its registry and its pages.

    Raises:
        ConfigError: A database or a password that cannot be used.
    """
    port = settings.mlflow_port
    address = access.own_address(settings, port)
    return Part(
        name="MLflow",
        command=(
            sys.executable, "-m", "infra.mlflow_process", "server",
            "--host", settings.host, "--port", str(port), "--workers", "1",
        ),
        environment={
            **environment(settings),
            **WITHOUT_KEYS,
            **_mlflow_storage(settings),
            **_mlflow_lock(settings),
        },
        address=address,
        health=f"{address}/health",
        setting="ROUNDHOUSE_MLFLOW_PORT",
        port=port,
    )  # fmt: skip


def _prefect_pages(settings: Settings) -> dict[str, str]:
    """Who may call the API, and what its pages know of it."""
    pair = access.credentials(settings)
    # an empty one would be asked for as well
    lock = {"PREFECT_SERVER_API_AUTH_STRING": ":".join(pair)} if pair else {}
    return {
        **lock,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": access.allowed_origins(settings),
        # the pages ask the server that they came from, under whatever name it was reached
        "PREFECT_SERVER_UI_API_URL": "/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_UI_URL": access.prefect_pages(settings),
    }


def _prefect_storage(settings: Settings) -> dict[str, str]:
    """Where the server keeps its records, its messages, and who holds a slot of a limit."""
    values = {}
    if settings.prefect_database is not None:
        values["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database_address(
            settings.prefect_database, "asyncpg", "ROUNDHOUSE_PREFECT_DATABASE"
        )
    if settings.redis is None:
        # in memory, a restart would forget who holds a slot, and let others in beside
        leases = "prefect.server.concurrency.lease_storage.filesystem"
        return {**values, "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": leases}
    address = _redis_address(settings, settings.redis)
    return {
        **values,
        "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": "prefect_redis.cleanup_queue",
        "PREFECT_REDIS_MESSAGING_URL": address,
        "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL": address,
        "PREFECT_SERVER_DOCKET_URL": address,
    }


def _prefect_retention(settings: Settings) -> dict[str, str]:
    """What leaves the database by itself; Prefect's own default keeps every run for ever."""
    return {
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": f"P{settings.keep_days}D",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"P{min(EVENT_DAYS, settings.keep_days)}D",
    }


def _mlflow_storage(settings: Settings) -> dict[str, str]:
    """Where the server keeps records and artefacts; by environment, as addresses hold passwords."""
    root = settings.artifact_root
    # an address that every process understands, so that a run without the server reads it too
    root = root if "://" in root else Path(root).as_uri()
    database = f"sqlite:///{settings.home_folder / 'mlflow.db'}"
    if settings.mlflow_database is not None:
        database = database_address(
            settings.mlflow_database, "psycopg", "ROUNDHOUSE_MLFLOW_DATABASE"
        )
    return {
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_REGISTRY_STORE_URI": database,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": root,
        "MLFLOW_ARTIFACTS_DESTINATION": root,
        "MLFLOW_SERVER_ALLOWED_HOSTS": access.allowed_hosts(settings),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": access.allowed_origins(settings),
        # for language models; it costs fourteen processes and 2.7 GiB
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def _mlflow_lock(settings: Settings) -> dict[str, str]:
    """What the server needs to ask for the password; empty where there is none."""
    pair = access.credentials(settings)
    if pair is None:
        return {}
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings.home_folder / "mlflow-access" / "access.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": pair[0],
        "MLFLOW_AUTH_ADMIN_PASSWORD": pair[1],
    }


def database_address(address: SecretStr, driver: str, setting: str) -> str:
    """A PostgreSQL address with the driver that is installed for the server.

    Args:
        address: As people write it, postgresql://user:password@host/name.
        driver: Name of the driver.
        setting: The variable that it came from.

    Raises:
        ConfigError: It is not the address of a PostgreSQL database.
    """
    parts = urlsplit(address.get_secret_value())
    kind = parts.scheme.partition("+")[0]
    if kind not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise ConfigError(
            f"{setting} begins with {parts.scheme or 'no scheme'}:// and names the database "
            f"{parts.path.strip('/')!r}; expected postgresql://user:password@host/name. Correct "
            "or unset it; unset, an SQLite database in the home is used."
        )
    query = parts.query
    if driver == "asyncpg":
        # what every other driver calls sslmode
        renamed = [("ssl" if n == "sslmode" else n, value) for n, value in parse_qsl(query)]
        query = urlencode(renamed)
    return urlunsplit((f"postgresql+{driver}", parts.netloc, parts.path, query, ""))


def _redis_address(settings: Settings, address: SecretStr) -> str:
    parts = urlsplit(address.get_secret_value())
    if parts.scheme.partition("+")[0] not in ("redis", "rediss"):
        raise ConfigError(
            f"ROUNDHOUSE_REDIS begins with {parts.scheme or 'no scheme'}://; expected "
            "redis://host:6379/0. Correct or unset it; unset, one server process needs none."
        )
    if "@" in parts.netloc and access.credentials(settings) is None:
        raise ConfigError(
            "ROUNDHOUSE_REDIS holds a password, and the Prefect server shows it on its settings "
            "page to everyone who is let in. Set ROUNDHOUSE_PASSWORD as well."
        )
    return address.get_secret_value()
