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

from tasks.models import is_estimator
from tests.small_runs import DEPLOYED, PIPELINES
from tests.stand_ins import write_all

ROOT = Path(__file__).parent.parent.parent
# what happens in time, and images from files: other tests train the other kinds each time
OFTEN = ("bike-demand", "image-vgg16")
NAMES = [
    pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow)
    for name in PIPELINES
    if name not in DEPLOYED
]


NETWORKS = [
    name
    for name, preset in PIPELINES.items()
    if not is_estimator(preset.parameters["model"].get("architecture", ""))
]


@pytest.fixture(scope="module")
def run_small(
    roundhouse_at: Callable[[Path], Any],
    prefect_server: str,
    telco: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Any]:
    """Runs pipelines in one process, which imports the libraries once: (names, **variables)."""

    def run(names: list[str], **variables: str) -> Any:
        folder = tmp_path_factory.mktemp("every")
        (folder / "data").mkdir()
        write_all(folder / "data", telco)
        home = folder / "home"
        done = subprocess.run(
            [
                sys.executable, ROOT / "tests" / "flows" / "every_pipeline.py",
                folder / "data", folder / "vgg16.weights.h5", *names,
            ],
            capture_output=True, text=True, check=False, cwd=folder,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("ROUNDHOUSE_")},
                "PYTHONPATH": str(ROOT), "ROUNDHOUSE_HOME": str(home),
                "ROUNDHOUSE_PREFECT_API_URL": prefect_server, **variables,
            },
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        command = roundhouse_at(home)
        champions = {name for name, _, aliases in command.registry() if "champion" in aliases}
        failed = json.loads(done.stdout.splitlines()[-1])
        return SimpleNamespace(failed=failed, champions=champions, command=command)

    return run


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, run_small: Callable[..., Any]) -> Any:
    """Those that are asked for."""
    return run_small(names_of(request, test_a_pipeline_lands_a_champion))


@pytest.fixture(scope="module")
def runs_on_jax(request: pytest.FixtureRequest, run_small: Callable[..., Any]) -> Any:
    """The same with Keras on JAX, and what one of them starts from."""
    asked = names_of(request, test_a_pipeline_lands_a_champion_on_jax)
    names = [name for name in NETWORKS if name in asked or name == "mnist-low"]
    return run_small(names, KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")


def names_of(request: pytest.FixtureRequest, test: Callable[..., None]) -> list[str]:
    """The names with which a test is asked for."""
    return [
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test.__name__
    ]


def landed(name: str, runs: Any) -> Any:
    """The newest run of a pipeline, which has a champion that predicts the same elsewhere."""
    assert name not in runs.failed, runs.failed[name]
    newest = runs.command.runs(name)[0]
    assert name in runs.champions, newest.data.tags["roundhouse.verdict"]
    assert newest.data.metrics["proof/largest_difference"] <= 1e-4
    return newest


def files_of(run: Any, runs: Any, folder: str | None = None) -> set[str]:
    """What a run has kept."""
    return {file.path for file in runs.command.client.list_artifacts(run.info.run_id, folder)}


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_lands_a_champion(name: str, runs: Any) -> None:
    assert "network.txt" in files_of(landed(name, runs), runs)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_pipeline_lands_a_champion_on_jax(name: str, runs_on_jax: Any) -> None:
    """In a GPU's precision; it is explained there, and served and exported by TensorFlow."""
    newest = landed(name, runs_on_jax)
    assert newest.data.tags["roundhouse.backend"] == "jax"
    assert 0 <= newest.data.metrics["training/data_wait_share"] < 1
    explained = files_of(newest, runs_on_jax, "explanation")
    assert "explanation/attributions.png" in explained
    assert "exports/onnx" in files_of(newest, runs_on_jax, "exports")
