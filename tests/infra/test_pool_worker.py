"""`roundhouse worker` as a command, on a real Prefect server."""

import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import WorkerStatus
from prefect.settings import PREFECT_API_URL, temporary_settings

SECONDS = 60


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with (
        temporary_settings({PREFECT_API_URL: prefect_server}),
        get_client(sync_client=True) as found,
    ):
        yield found


@pytest.fixture
def pool(client: SyncPrefectClient) -> str:
    name = f"pool-{uuid.uuid4().hex[:6]}"
    client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    return name


def test_it_polls_until_ctrl_c_and_a_home_has_one_per_pool(
    roundhouse: Any, prefect_server: str, client: SyncPrefectClient, pool: str, tmp_path: Path
) -> None:
    roundhouse.environment |= {
        "ROUNDHOUSE_PREFECT_API_URL": prefect_server,
        "ROUNDHOUSE_TRACKING_URI": f"sqlite:///{tmp_path / 'm.db'}",
    }
    process = roundhouse.start("worker", "--pool", pool)
    deadline = time.monotonic() + SECONDS
    while not (found := client.read_workers_for_work_pool(pool)):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert found[0].status == WorkerStatus.ONLINE
    second = roundhouse("worker", "--pool", pool)
    assert second.returncode == 1
    assert f"takes the runs of {pool!r} already" in second.stderr
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=SECONDS)
    assert (process.returncode, "Traceback" in error) == (0, False), error
    assert f"Polls the pool {pool} at {prefect_server}. Ctrl-C stops it.\n" in out


def test_without_an_mlflow_server_it_says_what_to_set(roundhouse: Any, prefect_server: str) -> None:
    done = roundhouse("worker", ROUNDHOUSE_PREFECT_API_URL=prefect_server)
    assert done.returncode == 1
    assert "✗ ROUNDHOUSE_TRACKING_URI is not set, and no stack serves" in done.stderr


@pytest.mark.slow
def test_a_run_of_another_pool_is_the_stacks_and_goes_on_after_ctrl_c(stack: Any) -> None:
    done = stack.command("deploy", "digits", "--pool", "other")
    assert "its runs wait for a worker: roundhouse worker --pool 'other'" in done.stdout
    number = stack.trigger("digits", force=True)
    for _ in range(2):
        process = stack.command.start("worker", "--pool", "other")
        until = "Running" if "AwaitingRetry" not in stack.states(number) else "Completed"
        deadline = time.monotonic() + 2 * SECONDS
        while until not in stack.states(number):
            assert time.monotonic() < deadline, stack.states(number)
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, error
    told = [n for n in stack.states(number) if n not in ("Pending", "Submitting")]
    assert told == ["Scheduled", "Running", "AwaitingRetry", "Running", "Completed"]
    assert stack.run(number)["labels"]["roundhouse.mlflow"].startswith(stack.mlflow)
    stack.command("deploy", "digits", "--pool", "local")
