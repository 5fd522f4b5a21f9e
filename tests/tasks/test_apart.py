"""Work that another run does, on a real Prefect server; the test itself is the other machine."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Completed, Crashed, Failed, Running

from tasks import apart
from tasks.errors import ConfigError, PermanentError, ServiceError, TrainingDiverged
from tasks.storage import Storage

KEY = "0123456789abcdef" * 4


@flow(name="train-apart")
def train_apart(record: str = "", rows: int = 0) -> None:
    """Its run is never begun by itself."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "SECONDS_BETWEEN_LOOKS", 0.05)


@pytest.fixture
def deployment(client: SyncPrefectClient) -> Iterator[Any]:
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name="apart", type="process"))
    number = client.create_deployment(
        client.create_flow(train_apart), "training", work_pool_name="apart", entrypoint="x.y"
    )
    yield number
    client.delete_deployment(number)


def works(client: SyncPrefectClient, deployment: Any) -> list[FlowRun]:
    mine = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
    return list(client.read_flow_runs(flow_run_filter=mine))


@pytest.fixture
def other(deployment: Any) -> Iterator[Callable[..., None]]:
    """The other machine, which does something with the work as soon as it is there."""
    threads: list[threading.Thread] = []

    def acts(*steps: Callable[[SyncPrefectClient, FlowRun], None]) -> None:
        def act() -> None:
            with get_client(sync_client=True) as client:
                while not (found := works(client, deployment)):
                    time.sleep(0.02)
                for step in steps:
                    step(client, client.read_flow_run(found[0].id))
                    time.sleep(0.2)

        thread = threading.Thread(target=copy_context().run, args=(act,))
        threads.append(thread)
        thread.start()

    yield acts
    for thread in threads:
        thread.join()


def comes_to(state: State[Any]) -> Callable[[SyncPrefectClient, FlowRun], None]:
    return lambda client, run: client.set_flow_run_state(run.id, state, force=True) and None


def leaves(storage: Storage, content: str) -> Callable[[SyncPrefectClient, FlowRun], None]:
    return lambda client, run: storage.write_record(run.parameters["record"], content)


@flow(name="parent")
def parent(place: str, retried: bool = False) -> str:
    for _ in range(1 + retried):
        found = apart.done_apart(KEY, {"rows": 3}, {"gpus": 1}, Storage(place))
    return found


def test_the_result_comes_through_the_storage_and_the_machine_is_as_asked(
    client: SyncPrefectClient, deployment: Any, other: Any, tmp_path: Path
) -> None:
    storage = Storage(str(tmp_path))
    other(comes_to(Running()), leaves(storage, '{"a": 1}'), comes_to(Completed()))
    # what the same run asks for again, as after a restart, is the same work
    assert parent(str(tmp_path), retried=True) == '{"a": 1}'
    [work] = works(client, deployment)
    assert work.job_variables == {"gpus": 1}
    assert work.parameters["rows"] == 3
    assert work.parent_task_run_id is not None


def test_while_it_waits_it_takes_no_place_of_its_pool(
    client: SyncPrefectClient, other: Any, tmp_path: Path
) -> None:
    waiting: list[Any] = []

    def look(client: SyncPrefectClient, work: FlowRun) -> None:
        waiting.append(client.read_flow_run(parent_of(client, work)))

    def parent_of(client: SyncPrefectClient, work: FlowRun) -> Any:
        return client.read_task_run(work.parent_task_run_id).flow_run_id

    other(comes_to(Running()), look, leaves(Storage(str(tmp_path)), "{}"), comes_to(Completed()))
    parent(str(tmp_path))
    # pools and queues count what is pending or running
    assert (waiting[0].state_type, waiting[0].state_name) == ("PAUSED", apart.WAITING)
    names = [state.name for state in client.read_flow_run_states(waiting[0].id)]
    assert names == ["Pending", "Running", apart.WAITING, "Running", "Completed"]


@pytest.mark.parametrize(
    ("state", "error", "said"),
    [
        (Failed(message=f"{apart.ENCOUNTERED}TrainingDiverged: loss is nan; lower the rate."),
         TrainingDiverged, "^loss is nan; lower the rate.$"),
        (Failed(message="Out of memory: the container used more than its limit."),
         PermanentError, "^Out of memory: the container"),
        (Cancelled(message="by Ada"), PermanentError, "was cancelled: by Ada"),
        (Crashed(message="killed"), ServiceError, "ended: killed"),
        (Completed(), ServiceError, "ROUNDHOUSE_STORAGE"),
    ],
)  # fmt: skip
def test_work_that_fails_ends_its_run_with_the_same_sentence(
    state: State[Any], error: type[Exception], said: str, other: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(apart, "SECONDS_TO_GO_ON", 0.2)
    other(comes_to(state))
    with pytest.raises(error, match=said):
        parent(str(tmp_path))


def test_work_that_crashes_and_goes_on_is_waited_for(other: Any, tmp_path: Path) -> None:
    steps = [Running(), Crashed(message="evicted"), AwaitingRetry(), Running()]
    leave = leaves(Storage(str(tmp_path)), "{}")
    other(*map(comes_to, steps), leave, comes_to(Completed()))
    assert parent(str(tmp_path)) == "{}"


def test_work_that_failed_before_is_tried_again_with_its_run(
    client: SyncPrefectClient, deployment: Any, other: Any, tmp_path: Path
) -> None:
    @flow
    def twice() -> str:
        with pytest.raises(PermanentError, match="no room"):
            apart.done_apart(KEY, {}, {}, Storage(str(tmp_path)))
        other(leaves(Storage(str(tmp_path)), "{}"), comes_to(Completed()))
        return apart.done_apart(KEY, {}, {}, Storage(str(tmp_path)))

    other(comes_to(Failed(message="no room")))
    assert twice() == "{}"
    names = [s.name for s in client.read_flow_run_states(works(client, deployment)[0].id)]
    assert "AwaitingRetry" in names


def test_the_work_of_a_cancelled_run_is_cancelled(
    client: SyncPrefectClient, deployment: Any, other: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def ends(_: float) -> None:
        from prefect import runtime

        client.set_flow_run_state(runtime.flow_run.id, Cancelling(), force=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(apart.time, "sleep", ends)
    with pytest.raises(KeyboardInterrupt):
        parent(str(tmp_path))
    [work] = works(client, deployment)
    assert work.state.name in ("Cancelling", "Cancelled")


def test_without_its_deployment_it_says_what_to_do(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="roundhouse deploy"):
        parent(str(tmp_path))
