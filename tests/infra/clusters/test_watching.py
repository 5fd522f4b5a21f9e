"""The watch between a real Prefect server and a cluster whose lists are made for the test."""

import asyncio
import contextlib
import importlib.util
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import (
    AwaitingRetry,
    Cancelling,
    Completed,
    InfrastructurePending,
    Pending,
    Running,
)

from infra.clusters import watching
from infra.clusters.namespace import Holdings, owner_of, run_of
from infra.clusters.outcomes import Runs
from infra.clusters.watching import Watch
from tasks import apart

_spec = importlib.util.spec_from_file_location(
    "kubernetes_objects", Path(__file__).with_name("kubernetes_objects.py")
)
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)
POOL = "watched"


class Cluster:
    """A namespace whose Jobs, pods and events a test sets; what is deleted is noted."""

    def __init__(self) -> None:
        self.name = made.NAMESPACE
        self.changed = asyncio.Event()
        self.jobs: list[Any] = []
        self.pods: list[Any] = []
        self.events: list[Any] = []
        self.deleted: list[str] = []
        self.pool_id: UUID | None = None

    async def holdings(self) -> Holdings:
        return Holdings(tuple(self.jobs), tuple(self.pods), tuple(self.events))

    async def delete(self, job: Any, grace_seconds: int) -> None:
        self.deleted.append(job["metadata"]["name"])
        self.jobs = [one for one in self.jobs if one is not job]
        left = {one["metadata"]["uid"] for one in self.jobs}
        self.pods = [one for one in self.pods if owner_of(one) in left]

    async def log_end(self, pod: str, lines: int) -> str:
        return "Traceback: no module named flows"

    async def watch(self) -> None:
        await asyncio.Event().wait()


class Bed:
    """A run of a deployment, the cluster, and a watch over both."""

    def __init__(self, client: SyncPrefectClient, run_id: UUID) -> None:
        self.client, self.run_id, self.cluster = client, run_id, Cluster()

    def has(self, state: State[Any], job: str = "j1") -> None:
        """The worker made a Job, and the run came to a state."""
        pid = f"{made.NAMESPACE}:{made.JOB}-{job}"
        self.client.set_flow_run_state(self.run_id, state, force=True)
        self.client.update_flow_run(self.run_id, infrastructure_pid=pid)

    def job(self, *conditions: Any, **more: Any) -> None:
        self.cluster.jobs.append(made.job(*conditions, run=str(self.run_id), **more))

    def look(self, times: int = 1) -> State[Any]:
        async def watched() -> None:
            async with get_client() as client:
                watch = Watch(self.cluster, Runs(client, POOL))
                for _ in range(times):
                    await watch.look()

        asyncio.run(watched())
        state = self.client.read_flow_run(self.run_id).state
        assert state is not None
        return state


@flow
def trial() -> None:
    """Never run."""


@pytest.fixture
def bed(client: SyncPrefectClient) -> Iterator[Bed]:
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="kubernetes"))
    deployment = client.create_deployment(
        client.create_flow(trial), "watched", work_pool_name=POOL, entrypoint="x.y"
    )
    run = client.create_flow_run_from_deployment(deployment)
    yield Bed(client, run.id)
    client.delete_flow_run(run.id)


def test_out_of_memory_fails_and_is_not_tried_again(bed: Bed) -> None:
    bed.has(Running())
    bed.job(made.failed())
    bed.cluster.pods = [made.pod("Failed", state=made.terminated(137, "OOMKilled"))]
    state = bed.look()
    assert state.name == "Failed"
    assert state.message.startswith("Out of memory: the container used more than its limit of 8Gi")


def test_an_evicted_run_goes_on_in_a_new_pod(bed: Bed) -> None:
    bed.has(Running())
    bed.job(made.failed())
    bed.cluster.pods = [made.pod("Failed", conditions=made.disrupted("EvictionByEvictionAPI"))]
    state = bed.look()
    assert state.name == "AwaitingRetry"
    assert "goes on from the last finished stage or checkpoint" in state.message
    # the next attempt, before and after it has a Job of its own, is not judged by the old Job
    bed.has(Pending())
    assert bed.look().name == "Pending"
    bed.job(uid="j2", seconds=0)
    bed.has(Running(), "j2")
    assert bed.look().name == "Running"


def test_a_pod_that_is_still_ending_keeps_its_run(bed: Bed) -> None:
    bed.has(Running())
    bed.job()
    bed.cluster.pods = [made.pod(conditions=made.disrupted("EvictionByEvictionAPI"))]
    assert bed.look().name == "Running"


def test_a_training_on_several_nodes_is_tried_again_once_all_of_its_pods_have_ended(
    bed: Bed,
) -> None:
    bed.has(Running())
    bed.job()
    bed.cluster.jobs[0]["spec"]["completions"] = 2
    gone = made.pod("Failed", conditions=made.disrupted("PreemptionByScheduler"))
    bed.cluster.pods = [gone, made.pod(metadata={"uid": "second"})]
    assert bed.look().name == "Running"
    bed.cluster.pods[1] = made.pod("Failed", state=made.terminated(1), metadata={"uid": "second"})
    assert bed.look().name == "AwaitingRetry"
    assert bed.cluster.deleted == [f"{made.JOB}-j1"]


def test_a_node_that_is_lost_loses_no_run(bed: Bed) -> None:
    bed.has(Running())
    bed.job()
    bed.cluster.pods = [made.pod(conditions=made.disrupted("DeletionByTaintManager"))]
    assert bed.look().name == "AwaitingRetry"
    assert bed.cluster.deleted == [f"{made.JOB}-j1"]


def test_a_run_that_its_nodes_put_out_again_and_again_fails(bed: Bed) -> None:
    low = "The node was low on resource: memory. "
    for number in range(1, 5):
        bed.has(Running(), f"j{number}")
        bed.job(made.failed(), uid=f"j{number}", seconds=10 - number)
        bed.cluster.pods.append(
            made.pod("Failed", reason="Evicted", message=low, job_uid=f"j{number}")
        )
        state = bed.look()
    assert state.name == "Failed"
    assert "That has happened 4 times, so it is not tried again by itself." in state.message


def test_an_image_that_cannot_be_pulled_is_told_at_once_and_given_up_in_minutes(bed: Bed) -> None:
    bed.has(InfrastructurePending())
    pulling = made.pod("Pending", state=made.waiting("ErrImagePull", "manifest unknown"))
    bed.job()
    bed.cluster.pods = [pulling]
    state = bed.look(times=2)
    assert state.name == "WaitingForImage"
    assert "registry.example.org/roundhouse:1.2.3 cannot be pulled: manifest unknown" in (
        state.message
    )
    pulling["status"]["conditions"][0]["lastTransitionTime"] = made.ago(125)
    state = bed.look()
    assert state.name == "Failed"
    assert "manifest unknown" in state.message
    assert "Given up after" in state.message
    assert bed.cluster.deleted == [f"{made.JOB}-j1"]


def test_a_pod_without_a_node_waits_and_then_starts(bed: Bed) -> None:
    bed.has(Pending())
    bed.job(seconds=1)
    no_gpu = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    bed.cluster.pods = [made.unschedulable(no_gpu)]
    state = bed.look()
    assert state.name == "WaitingForNode"
    assert "1 node with too little nvidia.com/gpu free (it asks for 2)" in state.message
    bed.cluster.pods = [made.pod("Pending", state=made.waiting("ContainerCreating", ""))]
    assert bed.look().name == "InfrastructurePending"
    bed.has(Running())
    bed.cluster.pods = [made.pod()]
    assert bed.look().name == "Running"


def test_a_pod_that_no_node_takes_for_too_long_fails(bed: Bed) -> None:
    bed.has(Pending())
    bed.job(seconds=16 * 60)
    bed.cluster.pods = [made.unschedulable("0/1 nodes are available: 1 Too many pods.")]
    state = bed.look()
    assert state.name == "Failed"
    assert state.message.endswith("Given up after 15 minutes.")


def test_a_run_whose_job_was_deleted_does_not_stay_running(bed: Bed) -> None:
    bed.has(Running())
    state = bed.look()
    assert state.name == "Failed"
    assert f"The Job {made.JOB}-j1 of this run was deleted" in state.message


def test_a_run_that_waits_for_its_training_is_watched_and_a_suspended_one_is_not(bed: Bed) -> None:
    bed.has(State(type=StateType.PAUSED, name="Suspended"))
    assert bed.look().name == "Suspended"
    bed.has(State(type=StateType.PAUSED, name=apart.WAITING))
    bed.job(made.failed())
    bed.cluster.pods = [made.pod("Failed", conditions=made.disrupted("EvictionByEvictionAPI"))]
    assert bed.look().name == "AwaitingRetry"


def test_a_run_that_never_had_a_job_does_not_stay_pending(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed.client.set_flow_run_state(bed.run_id, Pending(), force=True)
    assert bed.look().name == "Pending"
    monkeypatch.setattr(watching, "SUBMISSION", timedelta(0))
    state = bed.look(2)
    assert state.name == "Crashed"
    assert "made no Job" in state.message


def test_a_server_whose_clock_is_behind_does_not_end_what_begins(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed.client.set_flow_run_state(bed.run_id, Pending(), force=True)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(minutes=5)

    monkeypatch.setattr(watching, "datetime", Later)
    assert bed.look(2).name == "Pending"


def test_an_odd_run_does_not_keep_the_watch_from_the_others(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(job: Any, *_: Any) -> None:
        if run_of(job) == str(odd):
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        return diagnose(job, *_)

    diagnose = watching.diagnose
    monkeypatch.setattr(watching, "diagnose", refuse)
    bed.has(Running())
    deployment = bed.client.read_flow_run(bed.run_id).deployment_id
    others = [bed.client.create_flow_run_from_deployment(deployment).id for _ in range(2)]
    for odd in others:
        bed.client.set_flow_run_state(odd, Running(), force=True)
        bed.cluster.jobs.append(made.job(made.failed(), run=str(odd), uid=f"of-{odd}"))
    bed.job(made.failed())
    bed.cluster.pods = [made.pod("Failed", conditions=made.disrupted("EvictionByEvictionAPI"))]
    for odd in (*others, bed.run_id):
        bed.has(Running())
        ended = bed.look().name
        assert ended == ("Running" if odd == bed.run_id else "AwaitingRetry")
    for run in others:
        bed.client.delete_flow_run(run)


def test_a_pool_that_was_made_again_is_followed(bed: Bed) -> None:
    bed.has(Running())
    bed.job()
    bed.look()
    first = bed.cluster.pool_id
    assert first == bed.client.read_work_pool(POOL).id
    bed.client.delete_work_pool(POOL)
    bed.client.create_work_pool(WorkPoolCreate(name=POOL, type="kubernetes"))
    bed.look()
    assert bed.cluster.pool_id == bed.client.read_work_pool(POOL).id != first


def test_a_node_that_turns_pods_away_is_not_asked_for_ever(bed: Bed) -> None:
    for attempt in range(6):
        bed.has(Running())
        bed.cluster.jobs.clear()
        bed.job(made.failed())
        bed.cluster.pods = [
            made.pod("Failed", reason="UnexpectedAdmissionError", message="no healthy devices")
        ]
        state = bed.look()
        if attempt < 5:
            assert state.name == "AwaitingRetry"
            waits = state.state_details.scheduled_time - datetime.now(UTC)
            assert abs(waits - attempt * timedelta(seconds=10)) < timedelta(seconds=5)
    assert state.name == "Failed"
    assert "turned the pod of this run away: no healthy devices. That has happened 6 times" in (
        state.message
    )


def test_an_end_without_a_word_comes_with_the_end_of_the_log(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    log = SimpleNamespace(error=lambda text, *parts: said.append(text % parts if parts else text))
    monkeypatch.setattr("prefect.logging.loggers.flow_run_logger", lambda **_: log)
    bed.has(Running())
    bed.job(made.failed())
    bed.cluster.pods = [made.pod("Failed", state=made.terminated(1))]
    assert bed.look().name == "Failed"
    assert said[1:] == ["Traceback: no module named flows"]


def test_a_run_that_said_how_it_ended_is_left_alone(bed: Bed) -> None:
    bed.has(Completed(message="all good"))
    bed.job(made.failed())
    bed.cluster.pods = [made.pod("Failed", state=made.terminated(137, "OOMKilled"))]
    assert bed.look().message == "all good"


def test_a_cancelled_run_that_hangs_loses_its_pod_and_is_cancelled(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed.has(Running())
    bed.has(Cancelling())
    bed.job()
    bed.cluster.pods = [made.pod()]
    # its own process has some seconds to end in order
    assert bed.look().name == "Cancelling"
    assert not bed.cluster.deleted
    monkeypatch.setattr(watching, "CANCEL_PATIENCE", timedelta(0))
    bed.look()
    assert bed.cluster.deleted == [f"{made.JOB}-j1"]
    monkeypatch.setattr(watching, "SETTLED", timedelta(0))
    state = bed.look()
    assert (state.name, state.message) == ("Cancelled", "Cancelled; its pod was killed.")


def test_what_a_run_left_behind_is_killed(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    bed.has(AwaitingRetry())
    bed.job()
    bed.look()
    assert bed.cluster.deleted == [f"{made.JOB}-j1"]
    bed.has(Completed())
    bed.job(uid="j2")
    bed.look()
    # its last logs may still be on their way
    assert len(bed.cluster.deleted) == 1
    monkeypatch.setattr(watching, "END_PATIENCE", timedelta(0))
    bed.look()
    assert bed.cluster.deleted[1:] == [f"{made.JOB}-j2"]


def test_of_two_jobs_of_a_run_the_newer_stays(bed: Bed) -> None:
    bed.has(Running(), "j2")
    bed.job(seconds=60)
    bed.job(uid="j2", seconds=5)
    assert bed.look().name == "Running"
    assert bed.cluster.deleted == [f"{made.JOB}-j1"]


def test_an_outage_ends_no_watch(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.05)
    bed.has(Running())
    holdings, calls = bed.cluster.holdings, []

    async def sometimes() -> Holdings:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("no route to the cluster")
        return await holdings()

    bed.cluster.holdings = sometimes  # type: ignore[method-assign]

    async def watched() -> None:
        async with get_client() as client:
            watch = asyncio.create_task(Watch(bed.cluster, Runs(client, POOL)).run())
            while bed.client.read_flow_run(bed.run_id).state.name == "Running":
                await asyncio.sleep(0.05)
            watch.cancel()

    asyncio.run(asyncio.wait_for(watched(), 30))
    assert len(calls) >= 3
