"""Each pipeline that is shipped, from its deployment to a champion, on small made data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.forms import FIXED
from tasks.config import PipelineConfig
from tests.small_runs import PIPELINES, small, write_weights
from tests.stand_ins import write_all

# each time; tests of the flow have one that starts from another, pretrained ones take a minute
OFTEN = ("churn-boosting",)


@pytest.fixture(scope="module")
def made_data(tmp_path_factory: pytest.TempPathFactory, telco: Callable[..., Any]) -> Path:
    """A data folder with a small stand-in for each dataset."""
    folder = tmp_path_factory.mktemp("made")
    write_all(folder, telco)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights for VGG16, as somebody would have it who has no network."""
    path = tmp_path_factory.mktemp("weights") / "vgg16.weights.h5"
    write_weights(path)
    return path


def trigger(stack: Any, config: PipelineConfig) -> str:
    """Presses Run with a form that is filled in whole; the id of the run."""
    name = config.pipeline
    parameters = config.model_dump(mode="json", exclude_none=True)
    form = stack.ask(f"deployments/name/train/{name}")["parameter_openapi_schema"]["properties"]
    # what is fixed is not shown, and sent by the form all the same
    shown = {
        group: {
            key: value
            for key, value in parameters[group].items()
            if key in form[group]["properties"] or (group, key) in FIXED
        }
        for group in parameters.keys() & form.keys()
        if isinstance(parameters[group], dict)
    }
    place = f"deployments/{stack.ask(f'deployments/name/train/{name}')['id']}/create_flow_run"
    return str(stack.ask(place, {"parameters": shown})["id"])


@pytest.fixture(scope="module")
def run_of(stack: Any, made_data: Path, weights: Path) -> Callable[[str], Any]:
    """The run of a pipeline, once it has ended; what it starts from is run before."""
    found: dict[str, Any] = {}

    def run(name: str) -> Any:
        if name == "mnist-transfer":
            run("mnist-low")
        if name not in found:
            found[name] = stack.ended(trigger(stack, small(name, made_data, weights)), 600)
        return found[name]

    return run


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in OFTEN else pytest.mark.slow) for n in PIPELINES]
)
def test_a_pipeline_lands_a_champion_from_its_deployment(
    name: str, run_of: Callable[[str], Any], stack: Any
) -> None:
    assert run_of(name)["state_type"] == "COMPLETED", stack.logs()[-3000:]
    champions = {model for model, _, aliases in stack.command.registry() if "champion" in aliases}
    assert name in champions, stack.command.runs(name)[0].data.tags["roundhouse.verdict"]


@pytest.mark.slow
def test_what_starts_from_a_registered_version_says_from_which(
    run_of: Callable[[str], Any], stack: Any
) -> None:
    assert run_of("mnist-transfer")["state_type"] == "COMPLETED"
    tags = stack.command.runs("mnist-transfer")[0].data.tags
    assert tags["roundhouse.initial"].startswith("models:/mnist-low/1")
