"""The worker of `roundhouse up`, as a process: it takes runs from the work pool and starts them.

What happens to a run whose process is gone is decided here as well. A worker that is asked to stop
kills its runs and schedules them again, and so does the next one with what it finds dead; a run
goes on from its last stage, as after any kill.
"""

import hashlib
import logging
import os
import signal
import socket
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.environment import environment
from infra.servers import Part
from tasks.remote import is_remote
from tasks.settings import Settings, load_settings

if TYPE_CHECKING:
    from uuid import UUID

    import psutil
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.client.schemas.responses import WorkerFlowRunResponse
    from prefect.workers.base import BaseWorkerResult
    from prefect.workers.process import ProcessWorker

HEARTBEAT_SECONDS = 10
POLL_SECONDS = 1
FLOW_RUN, WORKER = "PREFECT__FLOW_RUN_ID", "PREFECT__WORKER_NAME"
# set for a `roundhouse worker`: what tells it from the worker of `roundhouse up` on the same home
BESIDE = "ROUNDHOUSE_WORKER"
logger = logging.getLogger("prefect.roundhouse.worker")


def worker_name(settings: Settings) -> str:
    """Name of a home's worker on this machine, the same each time."""
    home = hashlib.sha256(str(settings.home_folder).encode()).hexdigest()[:6]
    beside = os.environ.get(BESIDE)
    return "-".join(filter(None, (socket.gethostname(), home, beside)))


def worker_part(settings: Settings) -> Part:
    """The worker as a part of the stack whose servers the settings name."""
    return Part(
        name="Worker",
        command=(sys.executable, "-m", "infra.worker"),
        environment={
            **client_environment(settings),
            "PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS),
            # what a run says goes to the worker's log as well
            "PREFECT_LOGGING_ROOT_HANDLERS": "stream",
        },
    )


def client_environment(settings: Settings) -> dict[str, str]:
    """What the worker, its runs and `roundhouse deploy` need, whatever folder they work in."""
    places = {"ROUNDHOUSE_HOST": settings.host}
    for name, place in (
        ("ROUNDHOUSE_DATA_DIR", settings.data_dir),
        ("ROUNDHOUSE_STORAGE", settings.storage),
        ("ROUNDHOUSE_PASSWORD_FILE", settings.password_file),
        ("ROUNDHOUSE_PIPELINES", settings.pipelines),
    ):
        if place and not is_remote(str(place)):
            places[name] = str(Path(place).expanduser().absolute())
    return {**environment(settings, settings.prefect_api_url), **places}


def flow_run_processes(settings: Settings) -> "dict[psutil.Process, str]":
    """Every process of the worker's runs, also of a worker that was killed, with its run's id."""
    import psutil

    found = {}
    for process in psutil.process_iter():
        try:
            variables = process.environ()
        except (psutil.Error, OSError):
            continue
        if variables.get(WORKER) == worker_name(settings) and FLOW_RUN in variables:
            found[process] = variables[FLOW_RUN]
    return found


def end_flow_runs(settings: Settings) -> None:
    """Kills the processes of the worker's runs; what they were doing goes on another time."""
    import psutil

    found = flow_run_processes(settings)
    for process in found:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(list(found), timeout=10)


def work() -> None:
    """Runs the worker until it is asked to stop."""
    import asyncio

    settings = load_settings()
    _await_api(os.environ["PREFECT_API_URL"])
    asyncio.run(_work(settings))


async def _work(settings: Settings) -> None:
    import asyncio

    import anyio
    from prefect.client.orchestration import get_client

    worker = worker_type()(
        work_pool_name=settings.pool,
        name=worker_name(settings),
        limit=settings.runs_at_once,
        heartbeat_interval_seconds=HEARTBEAT_SECONDS,
    )
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    async with get_client() as client:
        await _take_over(client, settings, keep=settings.crashed_runs == "retry")
        async with anyio.create_task_group() as group:
            group.start_soon(_run_worker, worker)
            await asked.wait()
            # a run that is frozen cannot tell the API that it was terminated; no await from here
            # to the cancellation, or the worker would take another one
            _freeze(settings)
            group.cancel_scope.cancel()
        end_flow_runs(settings)
        await _take_over(client, settings, keep=True)


def worker_type() -> "type[ProcessWorker]":
    """Prefect's worker, as one that does not mind a run that comes back while it is still there.

    A crashed run is scheduled again within a second. Prefect's own worker has by then reported the
    crash, but not yet let go of the run: taking it again would end the worker, with all its runs.
    """
    import abc

    import anyio
    from prefect.workers.process import ProcessWorker

    # a class with ABC among its bases does not take ProcessWorker's place in Prefect's registry
    class PatientWorker(ProcessWorker, abc.ABC):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._at_work: set[UUID] = set()

        async def _submit_scheduled_flow_runs(
            self, flow_run_response: "list[WorkerFlowRunResponse]"
        ) -> "list[FlowRun]":
            # what is left out is offered again at the next poll
            fresh = [r for r in flow_run_response if r.flow_run.id not in self._at_work]
            return await super()._submit_scheduled_flow_runs(fresh)

        async def _submit_run_and_capture_errors(
            self,
            flow_run: "FlowRun",
            task_status: "anyio.abc.TaskStatus[int | Exception] | None" = None,
        ) -> "BaseWorkerResult | Exception":
            self._at_work.add(flow_run.id)
            try:
                return await super()._submit_run_and_capture_errors(flow_run, task_status)
            finally:
                self._at_work.discard(flow_run.id)

        async def _propose_crashed_state(
            self, flow_run: "FlowRun", message: str, client: "PrefectClient | None" = None
        ) -> None:
            # the crash was reported when the process ended; the run may have been scheduled since
            current = await (client or self.client).read_flow_run(flow_run.id)
            if current.state is None or not current.state.is_scheduled():
                await super()._propose_crashed_state(flow_run, message, client)

    return PatientWorker


async def _run_worker(worker: "ProcessWorker") -> None:
    await worker.start(printer=logger.info)
    # it returns only where it was ended from inside
    raise RuntimeError("The worker ended by itself; expected it to poll for runs.")


def _freeze(settings: Settings) -> None:
    import psutil

    for process in flow_run_processes(settings):
        try:
            process.suspend()
        except psutil.Error:
            continue


async def _take_over(client: "PrefectClient", settings: Settings, *, keep: bool) -> None:
    """Gives the runs whose process is gone another try, or marks them as crashed."""
    from prefect.exceptions import Abort, ObjectNotFound, Pause
    from prefect.utilities.engine import propose_state

    alive = set(flow_run_processes(settings).values())
    for run in await _open_runs(client, settings):
        if str(run.id) in alive:
            continue
        state = _next_state(run, keep=keep)
        try:
            await propose_state(client, state, flow_run_id=run.id)
        except (Abort, Pause, ObjectNotFound) as refusal:
            logger.info("Run %s is left as it is: %s", run.name, refusal)
            continue
        logger.info("Run %s had no process any more; it is now %s", run.name, state.name)


def _next_state(run: "FlowRun", *, keep: bool) -> "State[None]":
    from prefect.states import AwaitingRetry, Cancelled, Crashed

    if run.state and run.state.is_cancelling():
        return Cancelled(message="It was to be cancelled, and its process is gone.")
    if keep:
        return AwaitingRetry(message="Its process was stopped; it goes on from its last stage.")
    return Crashed(message="Its process ended without a word.")


async def _open_runs(client: "PrefectClient", settings: Settings) -> "list[FlowRun]":
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    from tasks import apart

    # paused: those that wait for their training, which have a process as well
    open_states = [
        StateType.RUNNING, StateType.PENDING, StateType.CANCELLING, StateType.PAUSED,
    ]  # fmt: skip
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=open_states))
        )
    )
    mine = worker_name(settings)
    return [
        run
        for run in runs
        if run.labels.get("prefect.worker.name") == mine
        and not (run.state and run.state.is_paused() and run.state.name != apart.WAITING)
    ]


def _await_api(api_url: str) -> None:
    while True:
        try:
            with urllib.request.urlopen(f"{api_url}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)


if __name__ == "__main__":
    work()
