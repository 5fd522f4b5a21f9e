import getpass
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import lineage


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    lineage.git_state.cache_clear()
    yield
    lineage.git_state.cache_clear()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, in the place of the project."""
    monkeypatch.setattr(lineage, "PROJECT_FOLDER", tmp_path)
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    (tmp_path / "kept").touch()
    for command in (("init",), ("add", "."), (*identity, "commit", "-m", "one")):
        subprocess.run(["git", "-C", tmp_path, *command], check=True, capture_output=True)
    return tmp_path


def test_the_commit_is_named_and_whether_the_tree_had_changes(project: Path) -> None:
    clean = lineage.git_state()
    assert len(clean["mlflow.source.git.commit"]) == 40
    assert clean["roundhouse.git_dirty"] == "false"
    (project / "new").touch()
    lineage.git_state.cache_clear()
    assert lineage.git_state() == {**clean, "roundhouse.git_dirty": "true"}


@pytest.mark.parametrize("path", ["", "/no/such/folder"])
def test_without_git_or_a_repository_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(lineage, "PROJECT_FOLDER", tmp_path)
    if path:
        monkeypatch.setenv("PATH", path)
    assert lineage.git_state() == {}


def test_a_user_without_a_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    with pytest.raises((KeyError, OSError)):
        getpass.getuser()
    assert lineage.describe_surroundings()["mlflow.user"] == "unknown"
