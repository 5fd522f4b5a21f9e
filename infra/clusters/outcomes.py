"""The runs of a work pool as Prefect has them, and how their states come to say what happened."""

import asyncio
import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from infra.clusters.findings import GOES_ON, SIGNS, Diagnosis
from tasks import apart
from tasks.announcements import MLFLOW_LABEL
from tasks.errors import PermanentError
from tasks.remote import scrubbed

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

PAGE = 200
# what a run that may still begin waits for, as its state is called meanwhile
WAITING = {
    "unschedulable": "WaitingForNode",
    "image": "WaitingForImage",
    "container": "WaitingForContainer",
    "refused": "WaitingForQuota",
}
MLFLOW_RUN = re.compile(r"/runs/(\w+)")
logger = logging.getLogger("prefect.roundhouse.watch")


class Runs:
    """The runs of a work pool.

    Args:
        client: A client of the Prefect API.
        pool: Name of the work pool.
        mlflow_uri: Where their MLflow runs are; None leaves these as they are.
    """

    def __init__(self, client: "PrefectClient", pool: str, mlflow_uri: str | None = None) -> None:
        self._client = client
        self._pool = pool
        self._mlflow_uri = mlflow_uri

    async def open(self) -> "list[FlowRun]":
        """Every run of the pool that a worker has taken and that has not ended."""
        from prefect.client.schemas.filters import (
            FlowRunFilter,
            FlowRunFilterState,
            FlowRunFilterStateType,
            WorkPoolFilter,
            WorkPoolFilterName,
        )
        from prefect.client.schemas.objects import StateType

        types = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]
        found: list[FlowRun] = []
        while True:
            page = await self._client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types))
                ),
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[self._pool])),
                limit=PAGE,
                offset=len(found),
            )
            found += page
            if len(page) < PAGE:
                return [run for run in found if not _is_suspended(run)]

    async def states(self, ids: Sequence[UUID]) -> "dict[UUID, State[object]]":
        """The states of runs; those that Prefect does not know any more are left out."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

        found: dict[UUID, State[object]] = {}
        for start in range(0, len(ids), PAGE):
            some = FlowRunFilter(id=FlowRunFilterId(any_=list(ids[start : start + PAGE])))
            page = await self._client.read_flow_runs(flow_run_filter=some, limit=PAGE)
            found |= {run.id: run.state for run in page if run.state}
        return found

    async def tell_starting(self, run: "FlowRun") -> None:
        """Says that a run's pod is on its way, if nobody has."""
        from prefect.states import InfrastructurePending

        state = run.state
        if state and state.is_pending() and state.name != "InfrastructurePending":
            await self._set(run, InfrastructurePending(message="Its pod is starting."))

    async def tell_waiting(self, run: "FlowRun", found: Diagnosis) -> None:
        """Says what a run waits for; once, as long as that is so."""
        from prefect.client.schemas.objects import State, StateType

        name = WAITING.get(found.kind, "Waiting")
        if run.state and run.state.is_pending() and run.state.name != name:
            await self._set(run, State(type=StateType.PENDING, name=name, message=found.sentence))

    async def tell_cancelled(self, run: "FlowRun") -> None:
        """Calls a run cancelled whose pod is gone, and which could not say so itself."""
        from prefect.states import Cancelled

        sentence = "Cancelled; its pod was killed."
        if await self._set(run, Cancelled(message=sentence)):
            await asyncio.to_thread(self._end_record, run, KeyboardInterrupt(sentence))

    async def pool_id(self) -> UUID:
        """The id of the work pool that has the name now."""
        return (await self._client.read_work_pool(self._pool)).id

    async def end(
        self,
        run: "FlowRun",
        found: Diagnosis,
        lines: str = "",
        delay: timedelta = timedelta(0),
    ) -> bool:
        """Puts a run into the state that follows from a diagnosis.

        Args:
            run: As it was when the Job was looked at; if it has gone on since, nothing is done.
            found: What became of its Job.
            lines: The end of its pod's log, for the run's.
            delay: Until another pod is made, where one is.

        Returns:
            Whether the state says so now.
        """
        from prefect.logging.loggers import flow_run_logger
        from prefect.states import AwaitingRetry, Crashed, Failed

        fresh = await self._client.read_flow_run(run.id)
        if fresh.state is None or run.state is None or fresh.state.id != run.state.id:
            return False
        log = flow_run_logger(flow_run_id=run.id)
        log.error(found.sentence)
        for line in lines.splitlines():
            log.error("%s", line)
        state: State[object] = Crashed(message=found.sentence)
        if found.outcome == "failed":
            state = Failed(message=found.sentence)
        elif found.outcome == "again" and run.deployment_id:
            state = AwaitingRetry(message=found.sentence, scheduled_time=datetime.now(UTC) + delay)
        done = await self._set(run, state)
        if done and state.is_failed():
            await asyncio.to_thread(self._end_record, fresh, PermanentError(found.sentence))
        return done

    async def told(self, run: "FlowRun", found: Diagnosis) -> tuple[int, int]:
        """How often a run was given a new pod, and how often for such a reason as this one."""
        states = await self._client.read_flow_run_states(run.id)
        again = [state.message or "" for state in states if state.name == "AwaitingRetry"]
        sign = SIGNS.get(found.kind, GOES_ON)
        return sum(GOES_ON in said for said in again), sum(sign in said for said in again)

    async def _set(self, run: "FlowRun", state: "State[object]") -> bool:
        from prefect.client.schemas.responses import SetStateStatus

        answer = await self._client.set_flow_run_state(run.id, state)
        if answer.status == SetStateStatus.ACCEPT:
            return True
        logger.info("Run %s is left as it is: %s", run.name, answer.details)
        return False

    def _end_record(self, run: "FlowRun", error: BaseException) -> None:
        """Ends the MLflow run of a run whose process could not."""
        from tasks import tracking

        found = MLFLOW_RUN.search(str(run.labels.get(MLFLOW_LABEL, "")))
        if not found or not self._mlflow_uri:
            return
        try:
            record = tracking.client(self._mlflow_uri).get_run(found.group(1))
            if record.info.status == "RUNNING":
                tracking.fail_run(self._mlflow_uri, found.group(1), error)
        except Exception as failure:
            # whatever MLflow's client raises: the run in Prefect says what happened
            logger.warning("The MLflow run of %s stays open: %s", run.name, scrubbed(str(failure)))


def _is_suspended(run: "FlowRun") -> bool:
    """Whether a run has no pod by right: paused, and not to wait for its training."""
    return bool(run.state and run.state.is_paused() and run.state.name != apart.WAITING)
