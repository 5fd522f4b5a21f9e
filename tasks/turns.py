"""Whose turn it is: runs of one pipeline one after the other, trainings on GPUs so many at a time.

A turn is a slot of a global concurrency limit on the Prefect server, held by a lease, so that the
slot of a killed process comes free by itself. A run with a server of its own takes none: the lock
on its home, which the command holds, does more than a slot could.
"""

import contextlib
import logging
import time
import typing
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal, TypeVar
from uuid import UUID

import httpx
from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Completed

from tasks.errors import PermanentError
from tasks.leases import LEASE_SECONDS, Lease
from tasks.progress import name_flow_run

R = TypeVar("R")
Overlap = Literal["wait", "supersede"]
GPU_LIMIT = "gpu"
SECONDS_BETWEEN_TRIES = 2.0
# by then the server has taken back every lease that is not renewed
SECONDS_UNTIL_LEFT_OVER = 2 * LEASE_SECONDS
# a run that crashes goes on by itself so often, and then no more
CRASHES_OF_A_RUN = 3
# on the flow run: the lease of its turn, for the attempt that follows a killed one
LEASE_LABEL = "roundhouse.turn"
# the same of its GPU, by which others know who holds one
GPU_LABEL = "roundhouse.gpu"
_held: ContextVar[bool] = ContextVar("held", default=False)
logger = logging.getLogger(__name__)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """While it lasts, every turn is this process's already, and none is asked for."""
    token = _held.set(True)
    try:
        yield
    finally:
        _held.reset(token)


@contextlib.contextmanager
def turn(pipeline: str, overlap: Overlap, *, retried: bool = True) -> Iterator[str]:
    """While it lasts, no other run of a pipeline is at work on the same Prefect server.

    Args:
        pipeline: Name of the pipeline.
        overlap: Whether to wait while another run is at work, or to give up.
        retried: Whether crashed runs go on by themselves; then not for ever.

    Yields:
        Why this run is not to work at all, as a sentence; empty when it is its turn.

    Raises:
        PermanentError: The run has crashed too often.
    """
    flow_run = _flow_run()
    if flow_run is None:
        yield ""
        return
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(get_client(sync_client=True))
        if retried:
            _require_few_crashes(client, flow_run)
        superseded = _newer_due_run(client, flow_run)
        if not superseded:
            limit = f"pipeline-{pipeline}"
            # another run may make it at the same moment
            with contextlib.suppress(ObjectAlreadyExists):
                client.upsert_global_concurrency_limit_by_name(limit, 1)
            _give_back(client, flow_run, LEASE_LABEL)
            lease = Lease(client, limit, flow_run.id)
            superseded = _wait(client, lease, flow_run, pipeline, overlap)
            if not superseded:
                stack.enter_context(lease)
                client.update_flow_run_labels(flow_run.id, {LEASE_LABEL: str(lease.lease_id)})
        if superseded:
            name_flow_run(f"{pipeline}: superseded")
            logger.info(superseded)
        yield superseded


@contextlib.contextmanager
def gpu_turn(*, wanted: bool) -> Iterator[None]:
    """While it lasts, no more trainings are on GPUs than the limit `gpu` allows, if there is one.

    Args:
        wanted: Whether a GPU is in use at all.
    """
    flow_run = _flow_run() if wanted else None
    if flow_run is None:
        yield
        return
    with get_client(sync_client=True) as client:
        _give_back(client, flow_run, GPU_LABEL)
        lease = Lease(client, GPU_LIMIT, flow_run.id)
        _wait_for_gpu(client, lease, flow_run)
        client.update_flow_run_labels(flow_run.id, {GPU_LABEL: str(lease.lease_id)})
        try:
            with lease:
                yield
        finally:
            with contextlib.suppress(httpx.HTTPError):
                client.update_flow_run_labels(flow_run.id, {GPU_LABEL: ""})


def as_superseded(sentence: str, outcome: R) -> R:
    """What a flow returns to end as superseded, and not just as completed.

    Args:
        sentence: Why.
        outcome: What the caller of the flow gets.
    """
    return typing.cast(R, Completed(name="Superseded", message=sentence, data=outcome))


def _flow_run() -> FlowRun | None:
    """The run that has to take turns; None for one with a server of its own, and outside of one."""
    current = FlowRunContext.get()
    if _held.get() or current is None or not runtime.flow_run.id:
        return None
    return current.flow_run


def _give_back(client: SyncPrefectClient, flow_run: FlowRun, label: str) -> None:
    """Ends the turn of this run's killed attempt, which would have to expire otherwise."""
    lease_id = flow_run.labels.get(label)
    if not lease_id:
        return
    try:
        client.release_concurrency_slots_with_lease(UUID(str(lease_id)))
    except httpx.HTTPError as error:
        logger.debug("The turn of the attempt before could not be given back: %s", error)


def _require_few_crashes(client: SyncPrefectClient, flow_run: FlowRun) -> None:
    if flow_run.run_count <= CRASHES_OF_A_RUN:
        return
    states = client.read_flow_run_states(flow_run.id)
    crashes = sum(state.type == StateType.CRASHED for state in states)
    if crashes > CRASHES_OF_A_RUN:
        raise PermanentError(
            f"The process of this run ended {crashes} times without a word; expected it to last. "
            "Look at the memory of its machine and at the end of its log, then start a new run."
        )


def _wait(
    client: SyncPrefectClient, lease: Lease, flow_run: FlowRun, pipeline: str, overlap: Overlap
) -> str:
    """Waits for the slot, and takes it; or says why it was given up."""
    alone_since, told = time.monotonic(), ""
    while not lease.take():
        others = _at_work(client, flow_run, pipeline)
        if others and overlap == "supersede":
            return f"superseded: {others[0]} is at work on {pipeline}"
        who = others[0] if others else "a run that has ended"
        if who != told:
            logger.info("Waiting for %s, which is at work on %s", who, pipeline)
            told = who
        if others:
            alone_since = time.monotonic()
        elif time.monotonic() - alone_since > SECONDS_UNTIL_LEFT_OVER:
            # a server that forgot its leases has no other way to give the slot back
            free = GlobalConcurrencyLimitUpdate(active_slots=0)
            client.update_global_concurrency_limit(lease.limit, free)
            alone_since = time.monotonic()
        time.sleep(SECONDS_BETWEEN_TRIES)
    return ""


def _wait_for_gpu(client: SyncPrefectClient, lease: Lease, flow_run: FlowRun) -> None:
    """Waits for a GPU's slot, and takes it; slots that nobody holds for long come free.

    The server takes a slot before it writes the lease, and one that fails between the two, or that
    loses its leases, has no other way to give the slot back.
    """
    left_over_since, told = time.monotonic(), False
    while not lease.take():
        if not told:
            logger.info("All GPUs are in use (limit %r); waiting for one", GPU_LIMIT)
            told = True
        taken = client.read_global_concurrency_limit_by_name(GPU_LIMIT).active_slots
        held = _holding_gpus(client, flow_run)
        if held >= taken:
            left_over_since = time.monotonic()
        elif time.monotonic() - left_over_since > SECONDS_UNTIL_LEFT_OVER:
            free = GlobalConcurrencyLimitUpdate(active_slots=held)
            client.update_global_concurrency_limit(GPU_LIMIT, free)
            left_over_since = time.monotonic()
        time.sleep(SECONDS_BETWEEN_TRIES)


def _holding_gpus(client: SyncPrefectClient, flow_run: FlowRun) -> int:
    """How many other runs hold a GPU's slot."""
    types = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.CANCELLING])
    alive = FlowRunFilter(state=FlowRunFilterState(type=types))
    found = client.read_flow_runs(flow_run_filter=alive)
    return sum(bool(run.labels.get(GPU_LABEL)) for run in found if run.id != flow_run.id)


def _at_work(client: SyncPrefectClient, flow_run: FlowRun, pipeline: str) -> list[str]:
    """Names of the pipeline's other runs that are running, those that have their turn first."""
    # one that trains apart is at work and, as Prefect calls it, paused
    types = [StateType.RUNNING, StateType.PAUSED]
    running = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)))
    begun = TaskRunFilter(name=TaskRunFilterName(like_="plan run"))
    names: dict[UUID, str] = {}
    for task_runs in (begun, None):
        found = client.read_flow_runs(flow_run_filter=running, task_run_filter=task_runs)
        names |= {
            run.id: run.name
            for run in found
            if run.id != flow_run.id and run.parameters.get("pipeline") == pipeline
        }
    return list(names.values())


def _newer_due_run(client: SyncPrefectClient, flow_run: FlowRun) -> str:
    """Why a scheduled run is not worth its while: a later one of the same schedule is due as well.

    After a machine slept, all that was due meanwhile starts at once.
    """
    if not flow_run.auto_scheduled or flow_run.deployment_id is None:
        return ""
    waiting = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]
    due = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[flow_run.deployment_id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=waiting)),
            expected_start_time=FlowRunFilterExpectedStartTime(
                after_=flow_run.expected_start_time, before_=datetime.now(UTC)
            ),
        )
    )
    newer = [run for run in due if _order(run) > _order(flow_run) and _same_work(run, flow_run)]
    if not newer:
        return ""
    newest = max(newer, key=_order)
    return f"superseded: {newest.name}, due {_order(newest)[0]:%Y-%m-%d %H:%M} UTC, does the work"


def _order(run: FlowRun) -> tuple[datetime, UUID]:
    return run.expected_start_time or datetime.min.replace(tzinfo=UTC), run.id


def _same_work(run: FlowRun, other: FlowRun) -> bool:
    return run.auto_scheduled and run.parameters == other.parameters
