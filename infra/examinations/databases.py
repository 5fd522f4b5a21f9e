"""The databases behind both servers: their kind, and whether they are at today's revision."""

import contextlib
import importlib.util
import sqlite3
from pathlib import Path

from pydantic import SecretStr

from infra.examinations.findings import Finding, Stack, reason
from infra.presence import find_stack

OK = 200
SHORT = 8


def prefect_database(stack: Stack) -> list[Finding]:
    """Whether Prefect's database has had every migration of the installed version."""
    what, settings = "Prefect database", stack.settings
    running = find_stack(settings)
    is_ours = running is not None and running.prefect_api == stack.prefect
    if settings.prefect_database is not None:
        revision = _postgresql(settings.prefect_database)
        kind, place = "PostgreSQL", "postgresql"
    elif is_ours:
        revision = _sqlite(settings.home_folder / "prefect" / "prefect.db")
        kind, place = "SQLite", "sqlite"
    else:
        ready = stack.ask_prefect("/ready")
        if ready.status_code == OK:
            return [Finding(what, "its server reaches it; its revision is not told from here")]
        fact = f"its server says that it is not ready (HTTP {ready.status_code})"
        return [Finding(what, fact, "see the server's log, and whether its database runs")]
    cure = (
        "stop `roundhouse up`, run `prefect server database upgrade -y`, and start it again: it "
        "must be of one version with its database"
    )
    migrations = _package("prefect") / "server" / "database" / "_migrations"
    return [_finding(what, kind, revision, _heads(migrations, place), cure)]


def mlflow_database(stack: Stack) -> list[Finding]:
    """Whether MLflow's database has had every migration of the installed version."""
    what, settings = "MLflow database", stack.settings
    running = find_stack(settings)
    is_ours = running is not None and running.mlflow == stack.mlflow
    if settings.mlflow_database is not None:
        revision, kind = _postgresql(settings.mlflow_database), "PostgreSQL"
        address = "the address in ROUNDHOUSE_MLFLOW_DATABASE"
    elif is_ours or not stack.mlflow:
        database = settings.home_folder / "mlflow.db"
        revision, kind, address = _sqlite(database), "SQLite", f"sqlite:///{database}"
    else:
        # what the server told when it was asked whether it answers came out of its database
        return [Finding(what, "its server reaches it; its revision is not told from here")]
    cure = f"stop `roundhouse up`, run `mlflow db upgrade` with {address}, and start it again"
    migrations = _package("mlflow") / "store" / "db_migrations"
    return [_finding(what, kind, revision, _heads(migrations), cure)]


def _finding(what: str, kind: str, revision: str, heads: tuple[str, ...], cure: str) -> Finding:
    if revision in heads:
        return Finding(what, f"{kind}, with every migration (revision {revision[:SHORT]})")
    newest = ", ".join(head[:SHORT] for head in heads)
    fact = f"{kind} at revision {revision[:SHORT] or 'none'}; expected {newest}"
    return Finding(what, fact, cure)


def _sqlite(path: Path) -> str:
    """The revision of an SQLite database, which is only read; empty where it has none."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return ""
    return str(row[0]) if row else ""


def _postgresql(address: SecretStr) -> str:
    """The revision of a PostgreSQL database; empty where it has none.

    Raises:
        RuntimeError: It does not let us in; its own words may hold the password.
    """
    import psycopg

    scheme, _, rest = address.get_secret_value().partition("://")
    plain = f"{scheme.partition('+')[0]}://{rest}"
    try:
        with psycopg.connect(plain, connect_timeout=5) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except psycopg.errors.UndefinedTable:
        return ""
    except psycopg.Error as error:
        raise RuntimeError(f"PostgreSQL does not let us in: {reason(error)}") from None
    return str(row[0]) if row else ""


def _package(name: str) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places or [])))


def _heads(migrations: Path, kind: str = "") -> tuple[str, ...]:
    """The newest revisions among the migrations of an installed package.

    Args:
        migrations: Its folder of them.
        kind: Name of the folder for one kind of database, where there are several.
    """
    from alembic.script import ScriptDirectory

    folders = [str(migrations / "versions" / kind)]
    return tuple(ScriptDirectory(str(migrations), version_locations=folders).get_heads())
