"""Empty databases with all their tables, made once at installation and copied into a new home.

The first start of Prefect and of MLflow on a new SQLite file runs every migration that they ever
had, some ten seconds of one core. The outcome is the same file each time, so it is made once, by
their own migrations, at installation. Where it was not made, or is of another version, they migrate
as usual.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from infra.environment import QUIET
from tasks.settings import Settings
from tasks.stores import disk_errors


def templates_folder() -> Path:
    """Where the empty databases of the installed versions are kept, inside the environment."""
    versions = f"prefect-{metadata.version('prefect')}-mlflow-{metadata.version('mlflow')}"
    return Path(sys.prefix) / "share" / "roundhouse" / versions


def prepare_databases(settings: Settings) -> None:
    """Puts the empty databases into a home that has none yet; what is there is not touched."""
    home, templates = settings.home_folder, templates_folder()
    for name, target, elsewhere in (
        ("prefect.db", home / "prefect" / "prefect.db", settings.prefect_database),
        ("mlflow.db", home / "mlflow.db", settings.mlflow_database),
    ):
        source = templates / name
        if elsewhere or not source.is_file() or target.exists():
            continue
        with disk_errors(str(home)), tempfile.TemporaryDirectory(dir=home) as scratch:
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(scratch) / name
            shutil.copyfile(source, aside)
            # a link fails where another command was faster; a rename would replace its database
            with contextlib.suppress(FileExistsError):
                target.hardlink_to(aside)


def make_templates() -> None:
    """Makes the empty databases by the libraries' own migrations, unless they are there."""
    folder = templates_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for name, code in (("prefect.db", _PREFECT), ("mlflow.db", _MLFLOW)):
        target = folder / name
        if target.exists():
            continue
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / name
            subprocess.run(
                [sys.executable, "-c", code, str(made)],
                check=True,
                env={
                    **os.environ,
                    **QUIET,
                    "PREFECT_HOME": scratch,
                    "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{made}",
                },
            )
            _settle(made)
            made.replace(target)


def _settle(database: Path) -> None:
    """Moves what is still in the write-ahead log into the file itself, so that it can be copied."""
    import sqlite3

    connection = sqlite3.connect(database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("VACUUM")
    connection.close()


_PREFECT = """
import asyncio
from prefect.server.database import provide_database_interface
asyncio.run(provide_database_interface().create_db())
"""

_MLFLOW = """
import logging, sys
logging.getLogger("mlflow").setLevel(logging.WARNING)
from mlflow.tracking import MlflowClient
MlflowClient(tracking_uri="sqlite:///" + sys.argv[1]).search_experiments()
"""

if __name__ == "__main__":
    make_templates()
