import sqlite3
import sys
from pathlib import Path

import pytest

from infra import databases
from tasks.settings import Settings


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which nothing was made yet."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    return tmp_path / "environment"


def tables(path: Path) -> set[str]:
    rows = sqlite3.connect(path).execute("select name from sqlite_master where type = 'table'")
    return {name for (name,) in rows}


@pytest.mark.slow
def test_empty_databases_are_made_once_and_copied_into_a_new_home(
    prefix: Path, tmp_path: Path
) -> None:
    databases.make_templates()
    made = {path.name: path.stat().st_mtime_ns for path in databases.templates_folder().iterdir()}
    assert set(made) == {"prefect.db", "mlflow.db"}
    databases.make_templates()
    assert made == {p.name: p.stat().st_mtime_ns for p in databases.templates_folder().iterdir()}
    home = tmp_path / "home"
    home.mkdir()
    databases.prepare_databases(Settings(home=home))
    assert "flow_run" in tables(home / "prefect" / "prefect.db")
    assert "registered_models" in tables(home / "mlflow.db")


def test_what_a_home_has_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"mine")
    databases.prepare_databases(Settings(home=tmp_path))
    assert (tmp_path / "mlflow.db").read_bytes() == b"mine"


def test_where_none_was_made_the_libraries_migrate(prefix: Path, tmp_path: Path) -> None:
    databases.prepare_databases(Settings(home=tmp_path / "home"))
    assert not (tmp_path / "home").exists()
