"""What people decide in the Prefect pages: flows with a form, in a real server and on a stack."""

import urllib.error
from collections.abc import Callable
from typing import Any

import pytest
from prefect.events.worker import EventsWorker

from flows.promoting import promote, roll_back
from tasks import promotion, tracking
from tasks.errors import ConfigError
from tasks.handoffs import RunContext
from tests import endings
from tests.endings import aliases, end, register

# which no other test on the shared stack trains
NAME = "image-vgg16"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[RunContext], RunContext]:
    """Registers four versions of a model, of which two were champions: v1, then v2."""
    monkeypatch.setattr(promotion, "compare", endings.compare)

    def make(context: RunContext) -> RunContext:
        here = context.model_copy(update={"pipeline": NAME})
        register(here, name=NAME)
        end(here, 1)
        end(here, 2)
        return here

    return make


def test_a_decision_is_a_run_with_a_name_and_a_move_with_its_page(
    client: Any, context: RunContext, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUNDHOUSE_TRACKING_URI", context.mlflow_uri)
    here = serve(context)
    back = roll_back(NAME, "it errs")
    assert aliases(here) == {"champion": 1, "challenger": 2}
    forward = promote(NAME, "challenger", "mended")
    assert aliases(here) == {"champion": 2, "challenger": 2, "previous": 1}
    with pytest.raises(ConfigError, match="has no version 9"):
        promote(NAME, "9", "why not")
    runs = [run for run in client.read_flow_runs() if run.parameters.get("pipeline") == NAME]
    (named,) = [run for run in runs if run.name.startswith(f"{NAME}: champion v2 → v1")]
    assert back.mover.page.endswith(str(named.id))
    assert (back.kind, back.why, forward.kind, forward.version) == (
        "rollback", "it errs", "person", 2,
    )  # fmt: skip
    EventsWorker.drain_all()


def pressed(stack: Any, deployment: str, **parameters: Any) -> str:
    """The id of the run that a filled-in form makes."""
    place = f"deployments/{stack.ask(f'deployments/name/{deployment}')['id']}/create_flow_run"
    return str(stack.ask(place, {"parameters": parameters})["id"])


def test_a_form_on_a_stack_rolls_back_and_refuses_what_has_no_reason(
    stack: Any, context: RunContext, serve: Any
) -> None:
    experiment = tracking.open_experiment(stack.mlflow, NAME, None)
    run_id = tracking.client(stack.mlflow).create_run(experiment).info.run_id
    update = {"mlflow_uri": stack.mlflow, "experiment_id": experiment, "run_id": run_id}
    here = serve(context.model_copy(update=update))
    with pytest.raises(urllib.error.HTTPError):
        pressed(stack, "rollback/rollback", pipeline=NAME, because=" ")
    with pytest.raises(urllib.error.HTTPError):
        pressed(stack, "promote/promote", pipeline=NAME, version="3")
    run = stack.ended(pressed(stack, "rollback/rollback", pipeline=NAME, because="it errs"))
    assert run["state_type"] == "COMPLETED", stack.logs()[-3000:]
    assert aliases(here) == {"champion": 1, "challenger": 2}
    assert f"runs/flow-run/{run['id']}" in endings.ended_together(here).moves[-1]["mover"]["page"]
