"""Each pipeline that is shipped, from source files to a champion, on small made data."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.small_runs import DEPLOYED, PIPELINES
from tests.stand_ins import write_all

ROOT = Path(__file__).parent.parent.parent
# one of each kind each time, as those from deployments and the flow's own tests have the others
OFTEN = ("bike-demand", "image-vgg16", "income", "spam")
NAMES = [
    pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow)
    for name in PIPELINES
    if name not in DEPLOYED
]


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest,
    roundhouse_at: Callable[[Path], Any],
    prefect_server: str,
    telco: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """Those that are asked for, run in one process, which imports the libraries once."""
    chosen = [
        item.callspec.params["name"]
        for item in request.session.items
        if item.path == Path(__file__) and isinstance(item, pytest.Function)
    ]
    folder = tmp_path_factory.mktemp("every")
    (folder / "data").mkdir()
    write_all(folder / "data", telco)
    home = folder / "home"
    done = subprocess.run(
        [
            sys.executable, ROOT / "tests" / "flows" / "every_pipeline.py",
            folder / "data", folder / "vgg16.weights.h5", *chosen,
        ],
        capture_output=True, text=True, check=False, cwd=folder,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("ROUNDHOUSE_")},
            "PYTHONPATH": str(ROOT), "ROUNDHOUSE_HOME": str(home),
            "ROUNDHOUSE_PREFECT_API_URL": prefect_server,
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    command = roundhouse_at(home)
    champions = {name for name, _, aliases in command.registry() if "champion" in aliases}
    failed = json.loads(done.stdout.splitlines()[-1])
    return SimpleNamespace(failed=failed, champions=champions, command=command)


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_lands_a_champion(name: str, runs: Any) -> None:
    assert name not in runs.failed, runs.failed[name]
    newest = runs.command.runs(name)[0]
    assert name in runs.champions, newest.data.tags["roundhouse.verdict"]
    assert newest.data.metrics["proof/largest_difference"] <= 1e-4
    listed = {file.path for file in runs.command.client.list_artifacts(newest.info.run_id)}
    assert "network.txt" in listed
