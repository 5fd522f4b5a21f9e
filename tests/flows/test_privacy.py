"""Personal values through the real command: in no file, log or database, whatever was done."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.planted import PLANTED, found_in, write_all

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def run_planted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Runs the planted pipelines on a fresh home, on servers of its own."""

    def run(**variables: str) -> Any:
        folder = tmp_path_factory.mktemp("planted")
        for name in ("data", "scratch"):
            (folder / name).mkdir()
        write_all(folder / "data")
        program = ROOT / "tests" / "flows" / "private_runs.py"
        done = subprocess.run(
            [sys.executable, program, folder / "data"],
            capture_output=True, text=True, check=False, cwd=folder,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("ROUNDHOUSE_")},
                "PYTHONPATH": str(ROOT), "ROUNDHOUSE_HOME": str(folder / "home"),
                "TMPDIR": str(folder / "scratch"), **variables,
            },
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return SimpleNamespace(
            home=folder / "home",
            scratch=folder / "scratch",
            said=(done.stdout + done.stderr).encode(),
            failed=json.loads(done.stdout.splitlines()[-1]),
        )

    return run


@pytest.fixture(scope="module")
def planted(run_planted: Any) -> Any:
    return run_planted()


def test_the_runs_went_as_they_should(planted: Any) -> None:
    assert planted.failed["sound"] is None
    assert planted.failed["texts"] is None
    for check in ("unique/customer", "categories/town", "range/age", "categories/postcode"):
        assert check in planted.failed["broken"]
    names = {path.name for path in planted.home.rglob("*")}
    assert {"prefect.db", "mlflow.db", "report.json", "lineage.json", "served.py"} <= names
    assert any(name.endswith(".parquet") for name in names)


@pytest.mark.parametrize("treatment", ["drop", "hash", "mask", "generalise"])
def test_a_protected_value_is_found_nowhere(planted: Any, treatment: str) -> None:
    values = PLANTED[treatment]
    assert found_in(planted.home, values) == []
    assert found_in(planted.scratch, values) == []
    assert not any(value in planted.said for value in values)


def test_a_personal_value_is_in_the_storage_alone(planted: Any) -> None:
    places = {place for place, _ in found_in(planted.home, PLANTED["none"])}
    assert {Path(place).parts[0] for place in places} == {"storage"}
    assert {Path(place).suffix for place in places} == {".parquet"}
    assert PLANTED["none"][0] not in planted.said


@pytest.mark.slow
def test_with_a_key_it_is_not_even_there(run_planted: Any) -> None:
    keys = {name: secrets.token_hex(32) for name in ("STORAGE_KEY", "PRIVACY_KEY")}
    planted = run_planted(**{f"ROUNDHOUSE_{name}": key for name, key in keys.items()})
    assert (planted.failed["sound"], planted.failed["texts"]) == (None, None)
    values = tuple(value for kind in PLANTED.values() for value in kind)
    values += tuple(key.encode() for key in keys.values())
    # of what is encrypted no other sign is there: no Parquet, no array, no JSON
    values += (b"PAR1", b"\x93NUMPY", b'"snapshot"')
    assert found_in(planted.home / "storage", values) == []
    assert found_in(planted.scratch, values) == []
    assert found_in(planted.home, values[:-3]) == []
    assert not any(value in planted.said for value in values)
    for path in (planted.home / "storage").rglob("*"):
        assert (
            path.is_dir()
            or path.name == "encryption"
            or b"roundhouse encrypted" in (path.read_bytes()[:30])
        )
