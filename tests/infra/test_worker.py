"""The worker on a real server, with runs in real processes."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import AwaitingRetry

from infra.worker import worker_type

SECONDS = 60
HERE = Path(__file__).parent


@pytest.fixture
def client(
    prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SyncPrefectClient]:
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{HERE.parent.parent}")
    values = {PREFECT_API_URL: prefect_server, PREFECT_HOME: tmp_path / "prefect"}
    with temporary_settings(values), get_client(sync_client=True) as found:
        yield found


@pytest.fixture
def run_id(client: SyncPrefectClient, tmp_path: Path) -> UUID:
    """A run of a deployment that takes some seconds."""
    spec = spec_from_file_location("trial_flows", HERE / "trial_flows.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    client.create_work_pool(WorkPoolCreate(name="comebacks", type="process"))
    deployment = client.create_deployment(
        client.create_flow(module.trial),
        "comeback",
        entrypoint="trial_flows.trial",
        pull_steps=[],
        work_pool_name="comebacks",
        parameters={"pipeline": "comeback", "folder": str(tmp_path), "seconds": 3},
        enforce_parameter_schema=False,
    )
    return client.create_flow_run_from_deployment(deployment).id


async def poll(worker: Any, reached: Any) -> None:
    """Has the worker look for runs, far more often than it would by itself."""
    deadline = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < deadline, "it did not come to that"
        await worker.get_and_submit_flow_runs()
        await asyncio.sleep(0.1)


def test_a_crashed_run_that_comes_back_at_once_does_not_end_the_worker(
    client: SyncPrefectClient, run_id: UUID, tmp_path: Path
) -> None:
    lines = tmp_path / "comeback"

    def is_in(wanted: str) -> bool:
        return client.read_flow_run(run_id).state.name == wanted

    async def work() -> None:
        async with worker_type()(work_pool_name="comebacks", limit=2) as worker:
            await poll(worker, lambda: lines.exists() and lines.read_text())
            os.kill(int(lines.read_text().splitlines()[0]), signal.SIGKILL)
            await poll(worker, lambda: is_in("Crashed"))
            client.set_flow_run_state(run_id, AwaitingRetry())
            await poll(worker, lambda: is_in("Completed"))

    asyncio.run(work())
    states = sorted(client.read_flow_run_states(run_id), key=lambda state: state.timestamp)
    told = ["Running", "Crashed", "AwaitingRetry", "Running", "Completed"]
    assert [state.name for state in states if state.name in told] == told
