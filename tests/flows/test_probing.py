"""The probing flow in a real Prefect server, as `roundhouse doctor` reads it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.probing import KEY, probe
from infra.examinations.runs import _read_report
from tasks.probe import ProbeReport


@pytest.fixture
def report(
    prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ProbeReport, Any]]:
    """What the flow found and returned, and a client for where it told it."""
    monkeypatch.setenv("ROUNDHOUSE_HOME", str(tmp_path / "home"))
    entrypoints = ("flows.training.train", "flows.training.trains", "flows.nothing.train")
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        found = probe(entrypoints)
        with SyncPrefectClient(prefect_server) as client:
            yield found, client


def test_it_tells_what_it_found_to_whoever_asks_the_api(report: Any) -> None:
    found, client = report
    (run,) = [run for run in client.read_flow_runs(limit=200) if run.parameters.get("entrypoints")]
    assert _read_report(client, run.id) == found
    (artifact,) = [a for a in client.read_artifacts() if a.key == KEY]
    assert "storage" in {row["what"] for row in json.loads(artifact.data)}


def test_it_finds_which_code_cannot_be_imported(report: Any, tmp_path: Path) -> None:
    found, _ = report
    assert found.code["flows.training.train"] == ""
    assert "trains" in found.code["flows.training.trains"]
    assert "flows.nothing" in found.code["flows.nothing.train"]
    assert found.storage.problem == found.artifacts[0].problem == ""
    assert list(tmp_path.rglob("probe-*")) == []
