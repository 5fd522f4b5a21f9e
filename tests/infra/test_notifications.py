"""Messages that arrive at a web server of the test, sent by a real Prefect server."""

import http.server
import json
import queue
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.worker import EventsWorker
from prefect.flow_engine import run_flow
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)
from prefect.states import Crashed, Running
from pydantic import SecretStr

from infra.automations import apply_automations
from infra.notifications import BLOCK, notification_block, require_address
from infra.servers import prefect_server as prefect_part
from tasks import announcements
from tasks.errors import ConfigError, DataCheckFailed
from tasks.handoffs import RunContext
from tasks.history import Change, Move, Mover
from tasks.judgement import Verdict
from tasks.settings import Settings

SECONDS = 30
SECRET = "planted-token"
PAGE = "http://mlflow.example/#/experiments/1/runs/2"


@pytest.fixture(scope="module")
def received() -> Iterator[Any]:
    """A web server; `.address` is where it is told of things, `.queue` what it was told."""
    messages: queue.Queue[dict[str, str]] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            messages.put({**content, "path": self.path})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        server.queue = messages  # type: ignore[attr-defined]
        server.address = f"http://127.0.0.1:{server.server_port}/told?token={SECRET}"  # type: ignore[attr-defined]
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def settings(received: Any) -> Settings:
    found = Settings().model_copy(update={"notify": SecretStr(received.address)})
    return found.model_copy(update={"crashed_runs": "leave"})


@pytest.fixture(scope="module")
def client(
    serve: Callable[..., Any], settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SyncPrefectClient]:
    """A client of a real server, which tells the web server."""
    from infra.databases import prepare_databases

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("notifications")
    own = Settings(home=home, prefect_port=port)
    prepare_databases(own)
    part = prefect_part(own)
    values = {PREFECT_API_URL: f"{part.address}/api", PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with (
        serve(part, log=home / "server.log"),
        temporary_settings(values),
        get_client(sync_client=True) as found,
    ):
        apply_automations(found, settings)
        yield found
        APILogWorker.drain_all(timeout=5)
        EventsWorker.drain_all()


@flow(name="eventful", persist_result=False)
def eventful(pipeline: str, what: str) -> None:
    """Does what a training does when it ends well or badly."""
    context = RunContext(
        pipeline=pipeline,
        run_id="2",
        experiment_id="1",
        mlflow_uri="http://mlflow.example",
        mlflow_pages="http://mlflow.example",
        storage_uri="/nowhere",
    )
    announcements.label_flow_run(context)
    match what:
        case "failure":
            raise ValueError("no engine")
        case "checks":
            announcements.announce_failed_checks(context, "2 of 9 checks failed.")
            raise DataCheckFailed("2 of 9 checks failed.")
        case "rollback":
            change = Change(alias="champion", before=7, after=6)
            move = Move(
                number=3, kind="rollback", version=6, changes=(change,), why="it errs",
                mover=Mover(by="ann"), at="2026-01-02T03:04:05+00:00",
            )  # fmt: skip
            announcements.announce_move("digits", move, PAGE)
        case _:
            verdict = Verdict(promoted=what == "champion", rules=(), reason=f"because of {what}")
            announcements.announce_verdict(context, 7, verdict, "accuracy", {"accuracy": 0.9})


@pytest.fixture
def happen(client: SyncPrefectClient) -> Callable[[str], Any]:
    """Lets something happen in a run of a deployment, and gives the run."""

    def do(what: str) -> Any:
        deployment = client.create_deployment(
            client.create_flow(eventful),
            f"eventful-{what}",
            tags=["roundhouse"],
            parameters={"pipeline": "digits", "what": what},
        )
        run = client.create_flow_run_from_deployment(deployment)
        if what == "crash":
            client.set_flow_run_state(run.id, Running())
            client.set_flow_run_state(run.id, Crashed(message="the power went"))
        else:
            run_flow(eventful, run, parameters=run.parameters, return_type="state")
        return run

    return do


@pytest.mark.parametrize(
    ("what", "subject", "sentence", "page"),
    [
        ("failure", "digits: a run failed", "ValueError: no engine", PAGE),
        ("crash", "digits: a run crashed", "the power went", "none"),
        ("checks", "digits: checks failed", "2 of 9 checks failed.", PAGE),
        ("champion", "digits: new champion", "digits v7: because of champion", PAGE),
        ("rollback", "digits: rolled back", "champion v7 → v6, rolled back by ann", PAGE),
        ("gate", "digits: gate lost", "digits v7: because of gate", PAGE),
    ],
)
def test_people_are_told_once(
    happen: Any, received: Any, client: SyncPrefectClient, what: str, subject: str, sentence: str,
    page: str,
) -> None:  # fmt: skip
    run = happen(what)
    message = received.queue.get(timeout=SECONDS)
    assert message["subject"] == subject
    assert sentence in message["text"]
    assert f"/runs/flow-run/{run.id}\n" in message["text"]
    assert re.search(rf"\nMLflow( run)?: {re.escape(page)}", message["text"])
    assert message["path"] == f"/told?token={SECRET}"
    with pytest.raises(queue.Empty):
        received.queue.get(timeout=1)


def test_the_address_is_shown_to_nobody(client: SyncPrefectClient, settings: Settings) -> None:
    shown = client.request("POST", "/block_documents/filter", json={}).text
    told = client.request("POST", "/automations/filter", json={}).text
    assert BLOCK in shown
    assert SECRET not in shown + told + repr(settings)


def test_without_an_address_nobody_is_told(client: SyncPrefectClient, settings: Settings) -> None:
    assert apply_automations(client, settings) == []
    silent = settings.model_copy(update={"notify": None})
    sentences = apply_automations(client, silent)
    assert sentences[0] == f"removed the notification block {BLOCK} (custom-webhook)"
    assert len(sentences) == 7
    assert apply_automations(client, silent) == []
    assert len(apply_automations(client, settings)) == 7


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "slack"),
        ("mailtos://me:secret@mail.example.org?to=you@example.org", "slack"),
        (
            "https://prod-1.westeurope.logic.azure.com:443/workflows/1/triggers/manual/paths/"
            "invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=2",
            "ms-teams",
        ),
        ("https://example.org/hook", "custom"),
    ],
)
def test_the_address_decides_who_sends(address: str, kind: str) -> None:
    assert notification_block(address).get_block_type_slug() == f"{kind}-webhook"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (f"ftp://me:{SECRET}@example.org", "begins with 'ftp'"),
        (f"hooks.example.org/{SECRET}", "has no scheme"),
        (f"https:///{SECRET}", "names no host after 'https'"),
        (f"http://[{SECRET}", "has no scheme"),
    ],
)
def test_an_address_of_no_kind_is_refused_without_being_shown(address: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"ROUNDHOUSE_NOTIFY {reason}; expected") as refused:
        require_address(Settings(notify=address))
    assert SECRET not in str(refused.value)


def test_half_an_address_of_teams_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match="not a whole address of a Teams workflow") as refused:
        notification_block(f"https://a.logic.azure.com/{SECRET}")
    assert SECRET not in str(refused.value)
