"""The watch over the runs on a cluster: what becomes of their Jobs becomes their state in Prefect.

Each look compares all open runs with all Jobs, so nothing depends on an event that was missed; what
changes in between only makes the next look come sooner. One look after an outage, of the cluster or
of Prefect, sets everything right.
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from infra.clusters.diagnosis import diagnose
from infra.clusters.findings import NEVER_MADE, Diagnosis, given_up, job_removed, not_again
from infra.clusters.namespace import Holdings, Namespace, owner_of, run_of
from infra.clusters.objects import (
    Object,
    created_at,
    deleted_at,
    in_order_of_end,
    is_over,
    name_of,
    over_at,
    phase_of,
    pods_asked_for,
    uid_of,
)
from infra.clusters.outcomes import Runs

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

LOOK_SECONDS, SECONDS_AFTER_CHANGE = 10.0, 1.0
# a run that is cancelled ends by itself in seconds, unless it hangs
CANCEL_PATIENCE, KILL_SECONDS = timedelta(seconds=20), 10
# what a run that has ended may still take to write its last logs
END_PATIENCE = timedelta(minutes=2)
# its own process may be about to say so
SETTLED = timedelta(seconds=2)
# between a worker's taking a run and its Job
SUBMISSION = timedelta(minutes=2)
# a pod on a node that is gone never says that it has ended
STUCK = timedelta(seconds=30)
STARTING = ("Pending", "Submitting")
# a node may put a run out or turn it away so often: then it asks for too little, or for what is
# broken. What takes spot machines away may do so all night, ever later
TRIES: Mapping[str, int] = {"node pressure": 3, "turned away": 5}
MOST_TRIES = 30
DELAY, LONGEST_DELAY = timedelta(seconds=10), timedelta(minutes=5)
logger = logging.getLogger("prefect.roundhouse.watch")


class Watch:
    """Looks after the runs of a work pool whose Jobs are in a namespace.

    Args:
        namespace: What the cluster holds.
        runs: What Prefect holds.
    """

    def __init__(self, namespace: Namespace, runs: Runs) -> None:
        self._namespace = namespace
        self._runs = runs
        # Jobs whose end was told
        self._told: set[object] = set()
        # states of runs without a Job, and since when: the clocks of servers differ
        self._without: dict[UUID, float] = {}

    async def run(self) -> None:
        """Looks again and again, whatever goes wrong meanwhile."""
        watching = asyncio.create_task(self._namespace.watch())
        try:
            while True:
                self._namespace.changed.clear()
                try:
                    await self.look()
                except Exception as error:
                    # a server's outage may not end the watch
                    logger.warning("The runs could not be looked after: %r", error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._namespace.changed.wait(), LOOK_SECONDS)
                    await asyncio.sleep(SECONDS_AFTER_CHANGE)
        finally:
            watching.cancel()

    async def look(self) -> None:
        """Compares the open runs with the Jobs, once, and does what follows.

        Raises:
            ApiException: The cluster refuses.
            OSError: The cluster does not answer.
            httpx.HTTPError: Prefect does not answer.
        """
        # a pool that was deleted and made again has the same name, and marks its Jobs otherwise
        self._namespace.pool_id = await self._runs.pool_id()
        # before the Jobs: the Job that a run names must have been there when they are listed
        open_runs = await self._runs.open()
        holdings = await self._namespace.holdings()
        jobs: dict[str, list[Object]] = defaultdict(list)
        for job in sorted(holdings.jobs, key=created_at, reverse=True):
            jobs[run_of(job)].append(job)
        for run in open_runs:
            with _keeping_from_others(run.name):
                await self._look_after(run, jobs.pop(str(run.id), []), holdings)
        await self._end_leftovers(jobs)
        states = {run.state.id for run in open_runs if run.state}
        self._without = {state: since for state, since in self._without.items() if state in states}
        self._told &= {uid_of(job) for job in holdings.jobs}

    async def _look_after(self, run: "FlowRun", jobs: Sequence[Object], holdings: Holdings) -> None:
        if run.state is None:
            return
        if run.state.is_cancelling():
            await self._end_cancelled(run, jobs)
            return
        for other in jobs[1:]:
            if not is_over(other) and deleted_at(other) is None:
                # the attempt before was taken for dead, and another one is at work
                await self._namespace.delete(other, KILL_SECONDS)
        current = next(iter(jobs), None)
        if current is not None and self._is_of_attempt(current, run):
            await self._judge(run, current, holdings)
        elif current is None:
            await self._without_job(run)

    def _is_of_attempt(self, job: Object, run: "FlowRun") -> bool:
        """Whether a Job is of the run's current attempt, and its end is yet to be told."""
        ended = over_at(job)
        if uid_of(job) in self._told or run.state is None:
            return False
        if ended is None or ended >= run.state.timestamp:
            return True
        names_it = run.infrastructure_pid == f"{self._namespace.name}:{name_of(job)}"
        return names_it and run.state.name not in STARTING

    async def _judge(self, run: "FlowRun", job: Object, holdings: Holdings) -> None:
        pods = [pod for pod in holdings.pods if owner_of(pod) == uid_of(job)]
        found = diagnose(job, pods, holdings.events)
        now = datetime.now(UTC)
        if found is None:
            if any(phase_of(pod) == "Pending" for pod in pods):
                await self._runs.tell_starting(run)
            return
        if found.outcome == "waiting":
            if found.until is None or now < found.until:
                await self._runs.tell_waiting(run, found)
                return
            found = given_up(found, created_at(job))
        delay = timedelta(0)
        if found.outcome == "again":
            if not _has_left(job, pods, found, now):
                return
            tries, of_kind = await self._runs.told(run, found)
            delay = min(tries * DELAY, LONGEST_DELAY)
            if of_kind >= TRIES.get(found.kind, MOST_TRIES):
                found = not_again(found, of_kind)
        await self._end(run, job, found, pods, delay)

    async def _end(
        self,
        run: "FlowRun",
        job: Object,
        found: Diagnosis,
        pods: Sequence[Object],
        delay: timedelta,
    ) -> None:
        lines = ""
        if found.kind == "ended" and pods:
            lines = await self._namespace.log_end(name_of(in_order_of_end(pods)[0]), lines=100)
        if not await self._runs.end(run, found, lines, delay):
            return
        self._told.add(uid_of(job))
        logger.info("Run %s: %s", run.name, found.sentence)
        if not is_over(job):
            await self._namespace.delete(job, KILL_SECONDS)

    async def _without_job(self, run: "FlowRun") -> None:
        """Of a run that has no Job: one that was deleted, or one that was never made."""
        place, _, name = (run.infrastructure_pid or "").partition(":")
        if run.state is None or (name and place != self._namespace.name):
            return
        if name and run.state.name not in STARTING:
            await self._runs.end(run, job_removed(name))
        else:
            since = self._without.setdefault(run.state.id, time.monotonic())
            if time.monotonic() - since > SUBMISSION.total_seconds():
                await self._runs.end(run, NEVER_MADE)

    async def _end_cancelled(self, run: "FlowRun", jobs: Sequence[Object]) -> None:
        """Kills what a cancelled run has left, and calls it cancelled once that is gone."""
        now, left = datetime.now(UTC), []
        for job in jobs:
            deleted = deleted_at(job)
            if deleted is None and not is_over(job):
                left.append(job)
                if run.state and now - run.state.timestamp > CANCEL_PATIENCE:
                    await self._namespace.delete(job, KILL_SECONDS)
            elif deleted is not None and now - deleted < STUCK:
                left.append(job)
        if not left and run.state and now - run.state.timestamp > SETTLED:
            await self._runs.tell_cancelled(run)

    async def _end_leftovers(self, jobs: Mapping[str, Sequence[Object]]) -> None:
        """Kills the Jobs of runs that have ended, or go on elsewhere, or are not there any more."""
        alive = {
            UUID(run): [job for job in found if not is_over(job) and deleted_at(job) is None]
            for run, found in jobs.items()
        }
        wanted = [run for run, found in alive.items() if found]
        states = await self._runs.states(wanted)
        now = datetime.now(UTC)
        for run in wanted:
            state = states.get(run)
            if state is not None and (state.is_paused() or not state.is_final()):
                patience = timedelta(0) if state.is_scheduled() else None
            elif state is not None and not state.is_cancelled():
                patience = END_PATIENCE
            else:
                patience = CANCEL_PATIENCE
            since = state.timestamp if state else min(map(created_at, alive[run]))
            if patience is not None and now - since > patience:
                with _keeping_from_others(str(run)):
                    for job in alive[run]:
                        await self._namespace.delete(job, KILL_SECONDS)


@contextlib.contextmanager
def _keeping_from_others(run: str) -> Iterator[None]:
    """What goes wrong with one run is logged, and the next one is looked after."""
    try:
        yield
    except Exception as error:
        logger.warning("The run %s could not be looked after: %r", run, error)


def _has_left(job: Object, pods: Sequence[Object], found: Diagnosis, now: datetime) -> bool:
    """Whether nothing of a pod is at work any more that another is to go on from."""
    if is_over(job):
        return True
    if pods_asked_for(job) == 1:
        pods = sorted(pods, key=created_at)[-1:]
    # a node that is gone says nothing more; one that is only closed to a pod ends it in its grace
    patience = timedelta(0) if found.kind == "node lost" else STUCK
    return all(
        phase_of(pod) in ("Failed", "Succeeded") or _is_gone(pod, found, now - patience)
        for pod in pods
    )


def _is_gone(pod: Object, found: Diagnosis, since: datetime) -> bool:
    """Whether a pod that never says so must have ended by a moment."""
    deleted = deleted_at(pod)
    return deleted < since if deleted else found.kind == "node lost"
