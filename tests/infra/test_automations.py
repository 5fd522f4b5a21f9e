"""The automations on a real server, which the tests make quicker than it is by itself."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events import Event
from prefect.server.events.ordering import memory
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Crashed, Pending, Running
from pydantic import SecretStr

from infra.automations import apply_automations, as_served
from infra.prefect_process import forget_lost_events
from infra.servers import prefect_server as prefect_part
from tasks.errors import ConfigError
from tasks.settings import Settings

SECONDS = 60
HERE = Path(__file__).parent
# a window of 12 seconds
SETTINGS = Settings().model_copy(update={"heartbeat_seconds": 4})
QUICK = {"PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S"}
# how Prefect's worker, and then its runner, tells of a process that could not even import its flow
EXITED = (
    "Flow run infrastructure exited with non-zero status code 1. Process exited with a general "
    "error.",
    "Process exited with status code: 1. Process exited with a general error.",
)
NAMES = [
    "roundhouse: a crashed run goes on",
    "roundhouse: a run that never began has crashed",
    "roundhouse: a run without a sign of life has crashed",
]


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The Prefect server of a home of its own, as `roundhouse up` starts it."""
    from infra.databases import prepare_databases

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(home=tmp_path_factory.mktemp("automations"), prefect_port=port)
    prepare_databases(settings)
    found = prefect_part(settings)
    found.environment.update(QUICK)
    return found


@pytest.fixture(scope="module")
def log(part: Any) -> Path:
    """All that the server said."""
    return Path(part.environment["PREFECT_HOME"], "server.log")


@pytest.fixture(scope="module")
def client(serve: Callable[..., Any], part: Any, log: Path) -> Iterator[SyncPrefectClient]:
    """A client of the server, with all of its services."""
    with (
        serve(part, log=log),
        temporary_settings({PREFECT_API_URL: f"{part.address}/api"}),
        get_client(sync_client=True) as found,
    ):
        yield found


def made(client: SyncPrefectClient) -> dict[str, Any]:
    return {automation.name: automation for automation in client.read_automations()}


def eventually(question: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.3)
    return answer


def states(client: SyncPrefectClient, run_id: UUID) -> list[str]:
    found = sorted(client.read_flow_run_states(run_id), key=lambda state: state.timestamp)
    return [state.name for state in found]


def deploy(client: SyncPrefectClient, name: str, **parameters: Any) -> UUID:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("trial_flows", HERE / "trial_flows.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return client.create_deployment(
        client.create_flow(module.trial),
        name,
        tags=["roundhouse"],
        entrypoint="trial_flows.trial",
        pull_steps=[],
        work_pool_name="trials",
        parameters={"pipeline": name, **parameters},
        enforce_parameter_schema=False,
    )


@pytest.fixture(scope="module")
def pool(client: SyncPrefectClient) -> str:
    client.create_work_pool(WorkPoolCreate(name="trials", type="process"))
    return "trials"


def test_they_are_made_once_and_changed_when_the_settings_are(client: SyncPrefectClient) -> None:
    assert len(apply_automations(client, SETTINGS)) == 3
    assert sorted(made(client)) == NAMES
    assert apply_automations(client, SETTINGS) == []
    client.pause_automation(made(client)[NAMES[2]].id)
    slower = SETTINGS.model_copy(update={"heartbeat_seconds": 50})
    assert apply_automations(client, slower) == [f"changed the automation {NAMES[2]!r}"]
    assert [made(client)[name].enabled for name in NAMES] == [True, True, False]
    assert made(client)[NAMES[2]].trigger.within.seconds == 150
    client.resume_automation(made(client)[NAMES[2]].id)
    leave = SETTINGS.model_copy(update={"crashed_runs": "leave"})
    assert f"removed the automation {NAMES[0]!r}" in apply_automations(client, leave)
    retry = SETTINGS.model_copy(update={"crashed_runs": "retry"})
    assert len(apply_automations(client, retry)) == 1


def test_what_a_setting_decides_that_is_not_given_stays(client: SyncPrefectClient) -> None:
    given = {"heartbeat_seconds": 50, "crashed_runs": "leave", "notify": SecretStr("https://x.org")}
    apply_automations(client, SETTINGS.model_copy(update=given))
    before = made(client)
    assert len(before) == 8
    # as in another shell
    assert apply_automations(client, Settings()) == []
    assert made(client) == before
    served = as_served(client, Settings())
    assert (served.heartbeat_seconds, served.crashed_runs) == (50, "leave")
    with pytest.raises(ConfigError, match="ROUNDHOUSE_NOTIFY has no scheme"):
        apply_automations(client, Settings(notify="hooks", crashed_runs="retry"))
    # the crashed runs' automations came first
    assert NAMES[0] in made(client)
    emptied = apply_automations(client, Settings(notify="", crashed_runs="retry"))
    assert len(emptied) == 7
    assert sorted(made(client)) == NAMES


def send_heartbeat(client: SyncPrefectClient, run_id: UUID) -> None:
    event = Event(
        event="prefect.flow-run.heartbeat",
        resource={"prefect.resource.id": f"prefect.flow-run.{run_id}"},
        related=[{"prefect.resource.id": "prefect.tag.roundhouse", "prefect.resource.role": "tag"}],
    )
    client.request("POST", "/events", json=[event.model_dump(mode="json")])


def test_silence_is_a_crash_unless_the_run_has_ended(client: SyncPrefectClient, pool: str) -> None:
    apply_automations(client, SETTINGS)
    deployment = deploy(client, "silent")
    silent, mute, ended, *broken = (
        client.create_flow_run_from_deployment(deployment).id for _ in range(5)
    )
    # of the command line: nobody could start it again
    lone = client.create_flow_run(flow(print, name="lone"), tags=["roundhouse"]).id
    for run_id in (silent, mute, ended, lone, *broken):
        client.set_flow_run_state(run_id, Pending())
        client.set_flow_run_state(run_id, Running())
    client.set_flow_run_state(ended, Completed())
    # the second is late: the run has ended before its last sign of life arrives
    for run_id in (silent, ended):
        send_heartbeat(client, run_id)
    for run_id, exited in zip(broken, EXITED, strict=True):
        client.set_flow_run_state(run_id, Crashed(message=exited))
    expected = ["Scheduled", "Pending", "Running", "Crashed", "AwaitingRetry"]
    # the one was killed before its first sign of life got through
    # without a worker, both are called late soon after
    eventually(lambda: states(client, silent)[:5] == states(client, mute)[:5] == expected)
    time.sleep(3)
    assert states(client, ended) == ["Scheduled", "Pending", "Running", "Completed"]
    for run_id in broken:
        assert states(client, run_id) == ["Scheduled", "Pending", "Running", "Crashed"]
    assert states(client, lone)[-1] == "Crashed"
    client.delete_deployment(deployment)


@pytest.fixture
def start_worker(
    client: SyncPrefectClient, pool: str, part: Any, tmp_path: Path
) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    """Starts a worker as a process."""
    workers = []

    def start() -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool]
        with (tmp_path / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [*command, "--type", "process"],
                env={
                    **os.environ,
                    **part.environment,
                    "PREFECT_API_URL": f"{part.address}/api",
                    "PREFECT_WORKER_QUERY_SECONDS": "1",
                    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
                    "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
                },
                stdout=log,
                stderr=log,
            )
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.terminate()
        worker.wait(SECONDS)
    # a run outlives its killed worker, and would wait for a server that is gone
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            variables = process.environ()
            is_ours = variables.get("PREFECT_API_URL") == f"{part.address}/api"
            if is_ours and "PREFECT__FLOW_RUN_ID" in variables:
                process.kill()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.slow
def test_a_killed_run_goes_on_and_a_healthy_long_one_is_left_alone(
    client: SyncPrefectClient, start_worker: Any, tmp_path: Path
) -> None:
    window = 45
    apply_automations(client, SETTINGS.model_copy(update={"heartbeat_seconds": window / 3}))
    places = {"folder": str(tmp_path)}
    healthy = deploy(client, "healthy", seconds=window + 30, **places)
    doomed = deploy(client, "doomed", seconds=15, **places)
    worker = start_worker()
    runs = [client.create_flow_run_from_deployment(each).id for each in (healthy, doomed)]
    eventually(lambda: lines(tmp_path / "healthy") and lines(tmp_path / "doomed"))
    # nobody is left who could tell the server
    worker.kill()
    os.kill(int(lines(tmp_path / "doomed")[0]), signal.SIGKILL)
    start_worker()
    eventually(lambda: states(client, runs[1])[-1] == "Completed", 3 * window)
    told = ["Running", "Crashed", "AwaitingRetry", "Running", "Completed"]
    assert [name for name in states(client, runs[1]) if name in told] == told
    processes = lines(tmp_path / "doomed")
    assert (len(processes), len(set(processes))) == (15, 2)
    eventually(lambda: states(client, runs[0])[-1] == "Completed", 2 * window)
    assert [n for n in states(client, runs[0]) if n in told] == ["Running", "Completed"]
    assert len(set(lines(tmp_path / "healthy"))) == 1


def test_an_event_whose_predecessor_is_lost_is_held_for_seconds_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "PRECEDING_EVENT_LOOKBACK", memory.PRECEDING_EVENT_LOOKBACK)
    forget_lost_events()
    ordering = memory.CausalOrdering("trial")

    def event(seconds: int) -> ReceivedEvent:
        received = datetime.now(UTC) - timedelta(seconds=seconds)
        resource = {"prefect.resource.id": "trial"}
        return ReceivedEvent(
            id=uuid4(),
            event="x",
            resource=resource,
            occurred=received,
            received=received,
            follows=uuid4(),
        )

    early, lost = event(5), event(25)

    async def held() -> list[ReceivedEvent]:
        await ordering.record_follower(early)
        await ordering.record_follower(lost)
        return await ordering.get_lost_followers()

    assert asyncio.run(held()) == [lost]


def test_no_event_was_lost_to_a_locked_database(client: SyncPrefectClient, log: Path) -> None:
    client.hello()
    assert "database is locked" not in log.read_text()
