"""Whether a part of the stack is well, asked over HTTP and without any heavy library."""

import json
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from infra import access
from infra.worker import HEARTBEAT_SECONDS, worker_name
from tasks.remote import basic_login
from tasks.settings import Settings

ANSWER_SECONDS = 5.0


def server_answers(health: str, since: datetime) -> bool:
    """Whether a server says that it is well.

    Args:
        health: The address where it does.
        since: When its process was started; the one before it cannot answer any more.
    """
    try:
        with _answer(urllib.request.Request(health)):
            return True
    except OSError:
        return False


def worker_polls(settings: Settings, since: datetime) -> bool | None:
    """Whether the Prefect server has heard of the worker lately; None where it cannot be asked.

    Args:
        settings: Places, and the addresses of the servers.
        since: When the worker's process was started; what was heard before is of an earlier one.
    """
    pool = urllib.parse.quote(settings.pool, safe="")
    address = f"{settings.prefect_api_url}/work_pools/{pool}/workers/filter"
    try:
        workers = _ask(address, settings)
    except urllib.error.HTTPError as error:
        # no such pool: the worker has yet to come
        return False if error.code == HTTPStatus.NOT_FOUND else None
    except (OSError, ValueError):
        return None
    since = max(since, datetime.now(UTC) - timedelta(seconds=3 * HEARTBEAT_SECONDS))
    return any(
        worker["name"] == worker_name(settings)
        and worker["status"] == "ONLINE"
        and datetime.fromisoformat(worker["last_heartbeat_time"]) > since
        for worker in workers
    )


def _ask(address: str, settings: Settings) -> Any:
    request = urllib.request.Request(address, b"{}", {"Content-Type": "application/json"})
    if given := access.credentials(settings):
        request.add_header("Authorization", basic_login(":".join(given)))
    with _answer(request) as answer:
        return json.load(answer)


def _answer(request: urllib.request.Request) -> Any:
    # a proxy for the world outside has no way to a server of this machine
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(request, timeout=ANSWER_SECONDS)
