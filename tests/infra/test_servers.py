"""The servers of the stack, started as `roundhouse up` starts them: open, and locked."""

import asyncio
import base64
import contextlib
import json
import socket
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr

from infra import servers
from infra.databases import prepare_databases
from tasks.home import prepare_home
from tasks.settings import Settings

PASSWORD = "a planted password"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=10"
NAME = "models.example.org"
BUSY = 503


@dataclass
class Answer:
    code: int
    text: str
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def ask(address: str, body: Any = None, password: str = "", **headers: str) -> Answer:
    headers = {"Content-Type": "application/json", **headers}
    if password:
        pair = base64.b64encode(f"admin:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {pair}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Answer(answer.status, answer.read().decode(errors="replace"), answer.headers)
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read().decode(errors="replace"), error.headers)


def ask_until_able(address: str, body: Any) -> Answer:
    """As a client does: a server that has just started may be too busy for the first request."""
    for _ in range(50):
        if (answer := ask(address, body)).code != BUSY:
            break
        time.sleep(0.1)
    return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Served:
    settings: Settings
    prefect: str
    mlflow: str


Start = Callable[..., AbstractContextManager[Served]]


@pytest.fixture(scope="module")
def start(tmp_path_factory: Any, serve: Any) -> Start:
    """Serves a new home on free ports: (**settings) -> context manager of a Served."""

    @contextlib.contextmanager
    def started(**given: Any) -> Iterator[Served]:
        home = tmp_path_factory.mktemp("served") / "home"
        ports = {"prefect_port": free_port(), "mlflow_port": free_port()}
        settings = Settings(home=home, **ports, **given)
        prepare_home(settings)
        prepare_databases(settings)
        parts = servers.prefect_server(settings), servers.mlflow_server(settings)
        with serve(*parts, log=settings.log_folder / "servers.log"):
            yield Served(settings, *(part.address for part in parts))

    return started


@pytest.fixture(scope="module")
def opened(start: Start) -> Iterator[Served]:
    """Both servers as a laptop has them."""
    with start(keep_days=30) as served:
        yield served


@pytest.fixture(scope="module")
def locked(start: Start) -> Iterator[Served]:
    """Both servers as others may reach them."""
    with start(host="0.0.0.0", password=SecretStr(PASSWORD), allowed_hosts=NAME) as served:
        yield served


def test_the_pages_call_their_own_server_and_nobody_else(opened: Served) -> None:
    assert ask(f"{opened.prefect}/ui-settings").json["api_url"] == "/api"
    pages = ask(f"{opened.prefect}/v2/dashboard", Accept="text/html")
    assert "<html" in pages.text
    # Prefect's pages call an analytics service although their server has it off
    assert pages.headers["Content-Security-Policy"] == "connect-src 'self'"
    telemetry = ask(f"{opened.mlflow}/ajax-api/3.0/mlflow/ui-telemetry").json
    assert telemetry["disable_ui_telemetry"] is True


def test_the_server_sends_no_telemetry_and_lets_old_records_go(opened: Served) -> None:
    server = ask(f"{opened.prefect}/api/admin/settings").json["server"]
    assert server["analytics_enabled"] is False
    assert set(server["services"]["db_vacuum"]["enabled"]) == {"events", "flow_runs"}
    assert server["services"]["db_vacuum"]["retention_period"] == "P30D"
    assert server["events"]["retention_period"] == "P7D"


def test_a_part_is_one_process(opened: Served) -> None:
    """MLflow's own command would be two, one of them for nothing."""
    ports = {opened.settings.prefect_port, opened.settings.mlflow_port}
    found = [
        process
        for process in psutil.Process().children(recursive=True)
        if {str(port) for port in ports} & set(process.cmdline())
    ]
    assert len(found) == 2


def test_they_listen_to_this_machine_alone(opened: Served) -> None:
    for process in psutil.Process().children(recursive=True):
        for link in process.net_connections("inet"):
            if link.status == "LISTEN" and link.laddr.port == opened.settings.mlflow_port:
                assert link.laddr.ip == "127.0.0.1"


@pytest.mark.parametrize("which", ["prefect", "mlflow"])
@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_other_sites_are_refused(opened: Served, which: str, headers: dict[str, str]) -> None:
    """A page on the web can send requests to servers of this machine, by its browser."""
    address = getattr(opened, which)
    path = "/api/flows/" if which == "prefect" else "/api/2.0/mlflow/experiments/create"
    refused = ask(address + path, {"name": "intruder"}, **headers)
    assert refused.code == 403
    listed = ask(f"{opened.prefect}/api/flows/filter", {}).text + ask(opened.mlflow + SEARCH).text
    assert "intruder" not in listed


def test_another_site_cannot_listen_to_events(opened: Served) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus

    address = opened.prefect.replace("http", "ws") + "/api/events/in"

    async def status(origin: str) -> int:
        try:
            async with connect(address, origin=origin, subprotocols=["prefect"]) as link:  # type: ignore[list-item, arg-type]
                return link.response.status_code if link.response else 0
        except InvalidStatus as refused:
            return refused.response.status_code

    assert asyncio.run(status("http://evil.example")) == 403
    assert asyncio.run(status(opened.prefect)) == 101


def test_experiments_lie_where_a_run_without_the_server_finds_them(opened: Served) -> None:
    created = ask(f"{opened.mlflow}/api/2.0/mlflow/experiments/create", {"name": "mine"}).json
    number = created["experiment_id"]
    found = ask(f"{opened.mlflow}/api/2.0/mlflow/experiments/get?experiment_id={number}").json
    folder = opened.settings.artifact_folder / number
    assert found["experiment"]["artifact_location"] == folder.as_uri()


def test_many_who_write_at_once_wait_for_each_other(opened: Served) -> None:
    """Prefect alone says that its SQLite database is locked, and clients ask again for minutes."""
    api = f"{opened.prefect}/api"
    flow = ask(f"{api}/flows/", {"name": "busy"}).json["id"]
    ask_until_able(f"{api}/work_pools/", {"name": "busy", "type": "process"})

    def work(number: int) -> set[int]:
        run = ask(f"{api}/flow_runs/", {"flow_id": flow, "state": {"type": "PENDING"}})
        path, beat = f"{api}/flow_runs/{run.json['id']}/set_state", {"name": f"worker {number}"}
        asked = [
            ask(path, {"state": {"type": "RUNNING"}}),
            ask(f"{api}/work_pools/busy/workers/heartbeat", beat),
            ask(f"{api}/work_pools/busy/get_scheduled_flow_runs", {}),
            ask(path, {"state": {"type": "COMPLETED"}}),
        ]
        return {run.code, *(answer.code for answer in asked)}

    with ThreadPoolExecutor(8) as pool:
        codes = set().union(*pool.map(work, range(24)))
    assert codes <= {200, 201, 204}
    assert "database is locked" not in (opened.settings.log_folder / "servers.log").read_text()


def test_who_holds_a_slot_is_known_after_a_restart(tmp_path: Path, serve: Any) -> None:
    """In memory, as Prefect keeps it by default, its holder could not go on holding it."""
    settings = Settings(home=tmp_path / "home", prefect_port=free_port())
    prepare_home(settings)
    prepare_databases(settings)
    part, log = servers.prefect_server(settings), settings.log_folder / "prefect.log"
    api = f"{part.address}/api/v2/concurrency_limits"
    slot = {"names": ["gpu"], "slots": 1, "mode": "concurrency", "lease_duration": 300}
    with serve(part, log=log):
        assert ask_until_able(f"{api}/", {"name": "gpu", "limit": 1}).code in (200, 201)
        lease = ask_until_able(f"{api}/increment-with-lease", slot).json["lease_id"]
    with serve(part, log=log):
        renewed = ask_until_able(f"{api}/leases/{lease}/renew", {"lease_duration": 300})
        assert renewed.code == 204
        assert ask_until_able(f"{api}/increment-with-lease", slot).code == 423


@pytest.mark.parametrize(
    ("which", "path"),
    [
        ("prefect", "/api/admin/settings"),
        ("prefect", "/api/admin/version"),
        ("mlflow", "/"),
        ("mlflow", SEARCH),
        ("mlflow", "/ajax-api/3.0/mlflow/ui-telemetry"),
    ],
)
def test_others_need_the_password(locked: Served, which: str, path: str) -> None:
    address = getattr(locked, which) + path
    assert ask(address).code == 401
    assert ask(address, password="a wrong password").code == 401
    assert ask(address, password=PASSWORD).code == 200


def test_whether_they_are_well_is_told_to_all(locked: Served) -> None:
    assert ask(f"{locked.prefect}/api/health").code == 200
    assert ask(f"{locked.mlflow}/health").code == 200


def test_they_answer_to_the_names_of_the_setting_and_of_the_machine(locked: Served) -> None:
    for name in (NAME, f"{NAME}:8080", socket.gethostname(), "localhost"):
        assert ask(f"{locked.prefect}/ui-settings", Host=name).code == 200
        assert ask(locked.mlflow, password=PASSWORD, Host=name).code == 200
    for address in (f"{locked.prefect}/ui-settings", locked.mlflow):
        assert ask(address, password=PASSWORD, Host="evil.example").code == 403
    allowed = ask(f"{locked.prefect}/api/health", Origin=f"https://{NAME}").headers
    assert allowed["Access-Control-Allow-Origin"] == f"https://{NAME}"


def test_what_the_lock_keeps_is_for_its_owner_alone(locked: Served) -> None:
    folder = locked.settings.home_folder / "mlflow-access"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    kept = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert kept == {"access.ini": 0o600, "accounts.db": 0o600, "session.key": 0o600}


@pytest.mark.parametrize("password", ["", "a wrong password"])
def test_a_missing_or_wrong_password_is_one_sentence(
    locked: Served, roundhouse: Any, password: str
) -> None:
    given = {"ROUNDHOUSE_PASSWORD": password} if password else {}
    addresses = {
        "ROUNDHOUSE_PREFECT_API_URL": f"{locked.prefect}/api",
        "ROUNDHOUSE_TRACKING_URI": locked.mlflow,
    }
    for arguments, which in ((("status",), "MLflow"), (("run", "digits"), "Prefect")):
        done = roundhouse(*arguments, **addresses, **given)
        assert done.returncode == 1
        assert done.stderr.startswith(f"✗ The {which} server at http://127.0.0.1:")
        assert "does not let us in" in done.stderr
        assert "ROUNDHOUSE_PASSWORD" in done.stderr
        assert "planted" not in done.stdout + done.stderr


def test_the_right_password_lets_the_commands_in(locked: Served, roundhouse: Any) -> None:
    done = roundhouse("status", ROUNDHOUSE_PASSWORD=PASSWORD, ROUNDHOUSE_TRACKING_URI=locked.mlflow)
    assert done.returncode == 0, done.stderr
    assert "digits" in done.stdout
