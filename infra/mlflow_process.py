"""The MLflow server as one process, and with the accounts that the settings say.

`mlflow server` prepares everything and then starts a second process that serves, with all its
libraries once more: 240 MiB and two seconds for nothing, and one left behind when the other is
killed. Here the process that prepared goes on to serve.

MLflow takes the password of its settings when its first account is made, and never again. A new
password, or another user, would be ignored; here they replace the old.
"""

import os
import secrets
import sys
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path
from typing import Any, NoReturn

# each answer that is remembered saves a slow comparison with a hash
CACHE_SECONDS = 60


def prepare_accounts(
    configuration: Path, user: str, password: str, database: str | None = None
) -> None:
    """Makes MLflow's accounts agree with the settings; accounts that people added stay.

    Args:
        configuration: MLflow's file of settings, in a folder that is made for this alone.
        user: Name of the administrator.
        password: The password.
        database: Address of the accounts' database; None for a file beside the configuration.
    """
    folder = configuration.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if database is None:
        _private(folder / "accounts.db")
        database = f"sqlite:///{folder / 'accounts.db'}"
    former = _former_user(configuration) or user
    # MLflow reads it when it is imported; that the user changed is noted when it is done
    _write_configuration(configuration, database, former)
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(database)
    if former != user and store.has_user(former):
        store.delete_user(former)
    if not store.has_user(user):
        store.create_user(user, password, is_admin=True)
    elif not store.authenticate_user(user, password):
        store.update_user(user, password=password, is_admin=True)
    _write_configuration(configuration, database, user)


def session_key(folder: Path) -> str:
    """The key that signs MLflow's forms; made once, and readable by its owner alone."""
    path = folder / "session.key"
    _private(path)
    if not (key := path.read_text(encoding="ascii")):
        key = secrets.token_hex(32)
        path.write_text(key, encoding="ascii")
    return key


def _former_user(configuration: Path) -> str | None:
    parser = ConfigParser(interpolation=None)
    parser.read(configuration, encoding="utf-8")
    return parser.get("mlflow", "admin_username", fallback=None)


def _write_configuration(path: Path, database: str, user: str) -> None:
    parser = ConfigParser(interpolation=None)
    parser["mlflow"] = {
        "default_permission": "READ",
        # MLflow reads the file with interpolation, in which a percent sign stands doubled
        "database_uri": database.replace("%", "%%"),
        "admin_username": user,
        "auth_cache_ttl_seconds": str(CACHE_SECONDS),
    }
    _private(path)
    with path.open("w", encoding="utf-8") as file:
        parser.write(file)


def _private(path: Path) -> None:
    """Makes a file that only its owner can read, before anything is in it."""
    path.touch(mode=0o600)
    path.chmod(0o600)


def _serve_here(command: list[str], *, extra_env: Mapping[str, str], **_: Any) -> NoReturn:
    """Does in this process what MLflow would start another for: `python -m uvicorn ...`."""
    os.environ.update(extra_env)
    import uvicorn

    # what stands before are the interpreter, -m and the module
    uvicorn.main(command[3:], prog_name="mlflow")
    raise SystemExit


def main() -> None:
    """Runs `mlflow` with the arguments of this process."""
    # MLflow guards its pages against other sites only where it finds a server loaded before it
    import uvicorn  # noqa: F401

    arguments = sys.argv[1:]
    if path := os.environ.get("MLFLOW_AUTH_CONFIG_PATH"):
        user, password = (os.environ[f"MLFLOW_AUTH_ADMIN_{n}"] for n in ("USERNAME", "PASSWORD"))
        prepare_accounts(Path(path), user, password, os.environ.get("MLFLOW_ACCOUNTS_DATABASE"))
        # several servers behind one name must share it
        if not os.environ.get("MLFLOW_FLASK_SERVER_SECRET_KEY"):
            os.environ["MLFLOW_FLASK_SERVER_SECRET_KEY"] = session_key(Path(path).parent)
        arguments += ["--app-name", "basic-auth"]
    import mlflow.server
    from mlflow.cli import cli

    mlflow.server._exec_cmd = _serve_here
    cli(arguments, prog_name="mlflow")


if __name__ == "__main__":
    main()
