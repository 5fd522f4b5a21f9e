"""Work that another run does for a run, on another kind of machine; no data is moved.

The run gives hand-offs to the deployment as its parameters and finds the result in the storage that
both share. It waits without a thread, a GPU, the data, or a place in its work pool, which the work
may need itself. Where its own process is started again, it goes on waiting for the same work, and
when it is cancelled, so is the work.
"""

import contextlib
import logging
import time
import typing
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelling, Running

from tasks import errors
from tasks.errors import ConfigError, PermanentError, ServiceError
from tasks.storage import Storage

# flow and deployment that train for others
DEPLOYMENT = "train-apart/training"
SECONDS_BETWEEN_LOOKS = 2.0
# a crashed run goes on by itself, if it does, within this time
SECONDS_TO_GO_ON = 60.0
# how the state of a run is called that waits
WAITING = "WaitingForTraining"
ENCOUNTERED = "Flow run encountered an exception: "
STOPPED = (StateType.CANCELLING, StateType.CANCELLED)
logger = logging.getLogger(__name__)


def done_apart(
    key: str, parameters: dict[str, Any], job_variables: dict[str, Any], storage: Storage
) -> str:
    """What a run of its own made, as JSON; it is started, or found at work, and waited for.

    Args:
        key: Of the work; the same run never starts the same work twice.
        parameters: Of the deployment, JSON; `record` is added, where it is to leave the result.
        job_variables: What its machine is to be, where that is not as the deployment says.
        storage: What both share.

    Raises:
        ConfigError: There is no such deployment.
        PermanentError: The work failed, with its own sentence, or was cancelled.
        ServiceError: The work's process crashed or left nothing, or Prefect does not answer.
    """
    parent = FlowRunContext.get()
    run_id = parent.flow_run.id if parent and parent.flow_run else None
    record = f"apart/{run_id}-{key[:16]}"
    with get_client(sync_client=True) as client:
        work = _begun(client, record, {**parameters, "record": record}, job_variables)
        logger.info("Run %s does this work; waiting for it", work.name)
        try:
            with _aside(client, run_id, work.name):
                state = _waited_for(client, work.id)
        except BaseException:
            _cancel_with(client, run_id, work.id)
            raise
    _require_completed(state, work.name)
    content = storage.read_record(record)
    if content is None:
        raise ServiceError(
            f"The run {work.name} is complete and left nothing in {storage.uri}; "
            "expected its result there. Give both the same ROUNDHOUSE_STORAGE, which both can "
            "reach."
        )
    return content


def _begun(
    client: SyncPrefectClient,
    record: str,
    parameters: dict[str, Any],
    job_variables: dict[str, Any],
) -> FlowRun:
    """The run that does the work: a new one, or the one that an earlier attempt has started."""
    same = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[record]))
    try:
        there = client.read_flow_runs(flow_run_filter=same, limit=1)
        if not there:
            begun = run_deployment(
                DEPLOYMENT,
                parameters=parameters,
                job_variables=job_variables,
                idempotency_key=record,
                timeout=0,
            )
            return typing.cast(FlowRun, begun)
        work = there[0]
        if work.state and work.state.is_final() and not work.state.is_completed():
            client.set_flow_run_state(work.id, AwaitingRetry(message="Its run tries again."))
    except ObjectNotFound:
        raise ConfigError(
            f"This run is to train apart, by the deployment {DEPLOYMENT}, which the Prefect server "
            "does not have; expected it beside this run's. Run `roundhouse deploy --target "
            "kubernetes`, or take `training` out of the block's resources."
        ) from None
    except httpx.HTTPError as error:
        raise ServiceError(
            f"The Prefect server does not answer ({type(error).__name__}: {error}); expected it to "
            f"start the deployment {DEPLOYMENT}. Start the server, and press Retry."
        ) from error
    return work


@contextlib.contextmanager
def _aside(client: SyncPrefectClient, run_id: UUID | None, work: str) -> Iterator[None]:
    """While it lasts, a run takes no place of its pool and queue, so that the work finds one.

    Prefect counts what is pending or running against their limits, and not what is paused. A run
    that is ended meanwhile stays so until whoever ended it says what became of it.
    """
    said = f"The run {work} trains for it."
    _come_to(client, run_id, State(type=StateType.PAUSED, name=WAITING, message=said))
    yield
    _come_to(client, run_id, Running())


def _come_to(client: SyncPrefectClient, run_id: UUID | None, state: State[Any]) -> None:
    if run_id is None:
        return
    try:
        client.set_flow_run_state(run_id, state)
    except httpx.HTTPError as error:
        # it works as well in the state that it is in
        logger.debug("The state of this run could not become %s: %s", state.name, error)


def _waited_for(client: SyncPrefectClient, work_id: UUID) -> State[Any]:
    """The state in which the work ended; what it waits for meanwhile is logged.

    Raises:
        PermanentError: Somebody has deleted it.
    """
    crashed_since: float | None = None
    told = ""
    while True:
        try:
            state = client.read_flow_run(work_id).state
        except ObjectNotFound:
            raise PermanentError(
                "The run that trained for this one was deleted; expected it to end. Press Retry: "
                "another goes on from its checkpoint."
            ) from None
        except httpx.HTTPError as error:
            # the work goes on meanwhile, and so does the wait
            logger.debug("The work's state cannot be read for now: %s", error)
            state = None
        if state and state.name != told:
            told = str(state.name)
            logger.info("It is %s. %s", told, state.message or "")
        if state and state.is_crashed():
            crashed_since = crashed_since or time.monotonic()
            if time.monotonic() - crashed_since > SECONDS_TO_GO_ON:
                return state
        elif state:
            crashed_since = None
            if state.is_final():
                return state
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _cancel_with(client: SyncPrefectClient, run_id: UUID | None, work_id: UUID) -> None:
    """Cancels the work of a run that is cancelled; that of one that is only moved goes on."""
    try:
        state = client.read_flow_run(run_id).state if run_id else None
        if state and state.type in STOPPED:
            client.set_flow_run_state(work_id, Cancelling(message="Its run was cancelled."))
    except httpx.HTTPError as error:
        # it looks at its run by itself as well
        logger.warning("The work could not be cancelled with its run: %s", error)


def _require_completed(state: State[Any], name: str) -> None:
    if state.is_completed():
        return
    said = (state.message or "it says no more").removeprefix(ENCOUNTERED)
    if state.is_crashed():
        raise ServiceError(f"The process of the run {name} ended: {said}")
    if state.is_cancelled():
        raise PermanentError(f"The run {name}, which did this work, was cancelled: {said}")
    # an error of ours, by its name
    kind, _, sentence = said.partition(": ")
    error = getattr(errors, kind, None)
    if error is None:
        raise PermanentError(said)
    raise error(sentence)
