"""Turns on a real Prefect server: flows in threads, as workers would start them in processes."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.schedules import CronSchedule
from prefect.flow_engine import run_flow
from prefect.states import Crashed, Running, State

from tasks import leases, turns
from tasks.turns import as_superseded, gpu_turn, held, turn

SECONDS = 30


class Work:
    """What runs do when it is their turn: they wait until they are told to end."""

    def __init__(self) -> None:
        self.at_work: list[str] = []
        self.most_at_once = 0
        self.begun, self.end = threading.Event(), threading.Event()

    def __call__(self, name: str) -> None:
        self.at_work.append(name)
        self.most_at_once = max(self.most_at_once, len(self.at_work))
        self.begun.set()
        self.end.wait(SECONDS)
        self.at_work.remove(name)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    monkeypatch.setattr(turns, "SECONDS_BETWEEN_TRIES", 0.2)
    made = Work()
    yield made
    made.end.set()


@pytest.fixture
def start(client: SyncPrefectClient, work: Work) -> Iterator[Callable[..., "Future[State[Any]]"]]:
    """Starts a run of a pipeline in a thread: (pipeline, overlap) -> its final state, later."""

    @flow(name="turning", persist_result=False)
    def turning(pipeline: str, overlap: str = "wait") -> str:
        with turn(pipeline, overlap) as given_up:
            if given_up:
                return as_superseded(given_up, "nothing")
            work(pipeline)
            return "worked"

    with ThreadPoolExecutor(4) as pool:
        yield lambda *arguments: pool.submit(
            copy_context().run, turning, *arguments, return_state=True
        )
        work.end.set()


@pytest.fixture
def due(client: SyncPrefectClient, work: Work) -> Callable[..., Any]:
    """Three nightly runs that were due while nobody was there, oldest first, and their flow."""

    @flow(name="nightly", persist_result=False)
    def nightly(pipeline: str) -> str:
        with turn(pipeline, "wait") as given_up:
            return as_superseded(given_up, "nothing") if given_up else "worked"

    flow_id = client.create_flow(nightly)
    deployment = client.create_deployment(
        flow_id,
        f"asleep-{time.monotonic_ns()}",
        schedules=[{"schedule": CronSchedule(cron="0 2 * * *"), "slug": "nightly"}],
        parameters={"pipeline": "asleep"},
    )
    now = datetime.now(UTC)
    body = {
        "start_time": (now - timedelta(days=3)).isoformat(),
        "end_time": now.isoformat(),
        "min_runs": 3,
    }
    client.request("POST", f"/deployments/{deployment}/schedule", json=body)
    runs = [r for r in client.read_flow_runs() if r.deployment_id == deployment]
    late = sorted((r for r in runs if r.expected_start_time <= now), key=turns._order)
    by_hand = client.create_flow_run_from_deployment(deployment)
    return nightly, [*late, by_hand]


def test_the_second_run_of_a_pipeline_waits_and_says_for_whom(
    start: Any, work: Work, client: SyncPrefectClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="tasks")
    first = start("waiting")
    assert work.begun.wait(SECONDS)
    second = start("waiting")
    while not said(caplog):
        time.sleep(0.05)
    work.end.set()
    assert (first.result().result(), second.result().result()) == ("worked", "worked")
    assert work.most_at_once == 1
    name = client.read_flow_run(first.result().state_details.flow_run_id).name
    assert said(caplog) == [f"Waiting for {name}, which is at work on waiting"]


def test_a_run_that_may_be_superseded_ends_at_once(
    start: Any, work: Work, client: SyncPrefectClient
) -> None:
    first = start("busy")
    assert work.begun.wait(SECONDS)
    second = start("busy", "supersede").result(SECONDS)
    work.end.set()
    assert (second.name, second.type.value, second.result()) == (
        "Superseded", "COMPLETED", "nothing",
    )  # fmt: skip
    name = client.read_flow_run(first.result().state_details.flow_run_id).name
    assert second.message == f"superseded: {name} is at work on busy"
    assert start("busy", "supersede").result().result() == "worked"


def test_runs_of_two_pipelines_are_at_work_together(start: Any, work: Work) -> None:
    runs = [start("one"), start("other")]
    while work.most_at_once < 2:
        time.sleep(0.05)
    work.end.set()
    assert [run.result().result() for run in runs] == ["worked", "worked"]


def test_a_run_with_a_server_of_its_own_asks_for_nothing(
    start: Any, work: Work, client: SyncPrefectClient
) -> None:
    work.end.set()
    with held():
        assert start("alone").result().result() == "worked"
    limits = {limit.name for limit in client.read_global_concurrency_limits(limit=100)}
    assert "pipeline-alone" not in limits


def test_a_slot_that_nobody_holds_any_more_comes_free(
    start: Any, work: Work, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "SECONDS_UNTIL_LEFT_OVER", 0.5)
    client.upsert_global_concurrency_limit_by_name("pipeline-forgotten", 1)
    client.increment_concurrency_slots(["pipeline-forgotten"], 1, "concurrency")
    work.end.set()
    assert start("forgotten").result(SECONDS).result() == "worked"


def test_a_killed_attempt_does_not_keep_the_next_one_waiting(
    due: Any, client: SyncPrefectClient
) -> None:
    nightly, (*_, by_hand) = due
    limit = "pipeline-asleep"
    client.upsert_global_concurrency_limit_by_name(limit, 1)
    taken = client.increment_concurrency_slots_with_lease([limit], 1, "concurrency", 60)
    client.update_flow_run_labels(by_hand.id, {turns.LEASE_LABEL: taken.json()["lease_id"]})
    before = time.monotonic()
    assert run_flow(nightly, client.read_flow_run(by_hand.id)) == "worked"
    assert time.monotonic() - before < leases.LEASE_SECONDS / 2
    assert slots(client, limit) == 0


def test_a_lost_slot_is_taken_anew(
    start: Any, work: Work, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "SECONDS_BETWEEN_RENEWALS", 0.2)
    granted: list[Any] = []
    increment = SyncPrefectClient.increment_concurrency_slots_with_lease
    monkeypatch.setattr(
        SyncPrefectClient,
        "increment_concurrency_slots_with_lease",
        lambda *arguments: granted.append(increment(*arguments)) or granted[-1],
    )
    run = start("lost")
    assert work.begun.wait(SECONDS)
    client.release_concurrency_slots_with_lease(granted[0].json()["lease_id"])
    deadline = time.monotonic() + SECONDS
    while len(granted) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert slots(client, "pipeline-lost") == 1
    work.end.set()
    assert run.result().result() == "worked"
    assert slots(client, "pipeline-lost") == 0


def test_of_many_runs_that_were_due_only_the_newest_works(
    due: Any, client: SyncPrefectClient
) -> None:
    nightly, (*late, by_hand) = due
    assert len(late) == 3
    ends = [run_flow(nightly, run, return_type="state") for run in (*late, by_hand)]
    assert [end.name for end in ends] == ["Superseded", "Superseded", "Completed", "Completed"]
    newest = f"{late[-1].name}, due {late[-1].expected_start_time:%Y-%m-%d %H:%M} UTC"
    assert ends[0].message == f"superseded: {newest}, does the work"
    assert client.read_flow_run(late[0].id).name == "asleep: superseded"


def test_a_run_that_crashes_again_and_again_fails_with_a_sentence(
    due: Any, client: SyncPrefectClient
) -> None:
    nightly, (*_, by_hand) = due
    for _ in range(4):
        client.set_flow_run_state(by_hand.id, Running(), force=True)
        client.set_flow_run_state(by_hand.id, Crashed(), force=True)
    end = run_flow(nightly, client.read_flow_run(by_hand.id), return_type="state")
    assert end.type.value == "FAILED"
    assert "ended 4 times without a word; expected it to last" in end.message


@pytest.mark.parametrize(("limit", "at_once"), [(1, 1), (0, 2)], ids=["limited", "no limit"])
def test_no_more_trainings_are_on_gpus_than_the_limit_says(
    client: SyncPrefectClient, work: Work, limit: int, at_once: int
) -> None:
    @flow(name="training", persist_result=False)
    def training() -> None:
        with gpu_turn(wanted=True):
            work("training")

    if limit:
        client.upsert_global_concurrency_limit_by_name("gpu", limit)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(copy_context().run, training) for _ in range(2)]
        assert work.begun.wait(SECONDS)
        # long enough for a second that would not wait
        deadline = time.monotonic() + (1 if limit else SECONDS)
        while work.most_at_once < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        work.end.set()
        for run in runs:
            run.result(SECONDS)
    assert work.most_at_once == at_once
    if limit:
        client.delete_global_concurrency_limit_by_name("gpu")


def test_a_slot_of_a_gpu_that_the_server_took_and_lost_comes_free(
    client: SyncPrefectClient, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "SECONDS_UNTIL_LEFT_OVER", 0.5)
    increment, asked = SyncPrefectClient.increment_concurrency_slots_with_lease, []

    def failing_once(self: SyncPrefectClient, *args: Any) -> Any:
        asked.append(args)
        if len(asked) > 1:
            return increment(self, *args)
        # as Prefect answers whose Redis is away: the slot is in the database, its lease is nowhere
        client.increment_concurrency_slots(["gpu"], 1, "concurrency")
        request = httpx.Request("POST", "http://prefect")
        raise httpx.HTTPStatusError("500", request=request, response=httpx.Response(500))

    monkeypatch.setattr(SyncPrefectClient, "increment_concurrency_slots_with_lease", failing_once)
    held: list[int] = []

    @flow(name="training", persist_result=False)
    def training() -> None:
        with gpu_turn(wanted=True):
            work("training")
            held.append(slots(client, "gpu"))

    client.upsert_global_concurrency_limit_by_name("gpu", 1)
    work.end.set()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, training).result(SECONDS)
    assert (held, slots(client, "gpu")) == ([1], 0)
    client.delete_global_concurrency_limit_by_name("gpu")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    ours = ("tasks.turns", "tasks.leases")
    return [record.getMessage() for record in caplog.records if record.name in ours]


def slots(client: SyncPrefectClient, limit: str) -> int:
    return client.read_global_concurrency_limit_by_name(limit).active_slots
