"""A training that is cancelled and hears nothing of it, on a real Prefect server."""

import contextlib
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Failed, Running

from tasks import cancelling
from tasks.handoffs import RunContext


@flow
def trial() -> None:
    """Its states are set by the tests."""


class Training:
    """A training's run, the run that it trains for, and what ended its process."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self.client = client
        self.run, self.parent = (client.create_flow_run(trial).id for _ in range(2))
        self.ended: list[Any] = []
        for run in (self.run, self.parent):
            self.comes_to(run, Running())

    def comes_to(self, run: UUID, state: State[Any]) -> None:
        self.client.set_flow_run_state(run, state, force=True)

    def look(self, context: RunContext, seconds: float = 1.0) -> None:
        """Has the thread look until it ended the process, or the training is over."""
        over = threading.Event()
        threading.Timer(seconds, over.set).start()
        with contextlib.suppress(SystemExit):
            cancelling._look(over, context, self.run, self.parent)


@pytest.fixture
def training(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Training]:
    made = Training(client)

    def ends(code: int) -> None:
        made.ended.append(code)
        raise SystemExit

    monkeypatch.setattr(cancelling, "SECONDS_BETWEEN_LOOKS", 0.05)
    monkeypatch.setattr(cancelling, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(cancelling.os, "_exit", ends)
    monkeypatch.setattr(
        cancelling.tracking, "fail_run", lambda _, run, error: made.ended.append(str(error))
    )
    yield made
    for run in (made.run, made.parent):
        client.delete_flow_run(run)


@pytest.fixture
def somewhere() -> RunContext:
    return RunContext(
        pipeline="trial", run_id="r", experiment_id="e", mlflow_uri="", mlflow_pages="",
        storage_uri="",
    )  # fmt: skip


@pytest.mark.parametrize("state", [Cancelling(), Cancelled()])
def test_a_cancelled_training_that_hangs_ends_its_process(
    training: Training, somewhere: RunContext, state: State[Any]
) -> None:
    training.comes_to(training.run, state)
    training.look(somewhere)
    sentence = "Cancelled; its process did not end by itself, and was ended."
    assert training.ended == [sentence, cancelling.EXIT_CODE]
    found = training.client.read_flow_run(training.run).state
    assert (found.name, found.message) == ("Cancelled", sentence)


@pytest.mark.parametrize("state", [Cancelled(), Failed(), Completed()])
def test_a_training_that_nobody_waits_for_ends_with_its_run(
    training: Training, somewhere: RunContext, state: State[Any]
) -> None:
    training.comes_to(training.parent, state)
    training.look(somewhere)
    assert training.ended[-1] == cancelling.EXIT_CODE
    names = [state.name for state in training.client.read_flow_run_states(training.run)]
    # so that the program beside it ends it in order, if it hears
    assert names[-2:] == ["Cancelling", "Cancelled"]


@pytest.mark.parametrize("state", [Running(), Crashed()])
def test_a_training_whose_run_goes_on_goes_on(
    training: Training, somewhere: RunContext, state: State[Any]
) -> None:
    training.comes_to(training.parent, state)
    training.look(somewhere, seconds=0.5)
    assert training.ended == []


def test_outside_of_a_deployment_nobody_looks(
    somewhere: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = SimpleNamespace(id="r", parent_flow_run_id=None)
    nothing = SimpleNamespace(id=None)
    monkeypatch.setattr(cancelling, "runtime", SimpleNamespace(flow_run=known, deployment=nothing))
    with cancelling.ended_when_cancelled(somewhere):
        assert "cancelling" not in [thread.name for thread in threading.enumerate()]
