"""The Prefect server as a process whose pages and API are closed to other sites.

A browser lets every page on the web send requests to servers of this machine; Prefect, unlike
MLflow, does not look where they come from. And its pages call an analytics service whatever its
settings say, so they are told to call nobody but their own server.
"""

import sys
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

READING = ("GET", "HEAD", "OPTIONS")
HEALTH = ("/api/health", "/api/ready")
POLICY = (b"content-security-policy", b"connect-src 'self'")
# how long an event is kept from the automations until the one before it has come
LONGEST_WAIT_FOR_EVENT = timedelta(seconds=20)
FORBIDDEN, POLICY_VIOLATION = 403, 1008


class Guard:
    """Lets requests through to an application that were sent to it under a name of its own.

    Args:
        application: What is guarded, by the ASGI protocol.
        names: The hosts' names under which it may be reached; a `*` stands for any characters.
    """

    def __init__(self, application: Application, names: Collection[str]) -> None:
        self._application = application
        self._names = tuple(names)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request, or refuses it."""
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self._application(scope, receive, send)
        elif not self._is_own(scope):
            await _refuse(kind, send)
        else:
            await self._application(scope, receive, _with_policy(send))

    def _is_own(self, scope: Message) -> bool:
        headers = dict(scope["headers"])
        if scope["path"] in HEALTH:
            return True
        if not self._is_listed(b"//" + headers.get(b"host", b"")):
            return False
        origin = headers.get(b"origin")
        return origin is None or scope.get("method") in READING or self._is_listed(origin)

    def _is_listed(self, address: bytes) -> bool:
        host = _host(address)
        return any(fnmatchcase(host, name) for name in self._names)


def _host(address: bytes) -> str:
    try:
        return urlsplit(address.decode("latin-1")).hostname or ""
    except ValueError:
        return ""


def _with_policy(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), POLICY]
        await send(message)

    return sent


async def _refuse(kind: str, send: Send) -> None:
    if kind == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return
    plain = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": FORBIDDEN, "headers": plain})
    said = b"Asked under a name, or by a site, that is not listed in ROUNDHOUSE_ALLOWED_HOSTS.\n"
    await send({"type": "http.response.body", "body": said})


def take_turns_at_writing() -> None:
    """Has transactions on SQLite wait for each other from their first statement on.

    Prefect begins them as readers; where one then writes, and another has written meanwhile, SQLite
    says at once that the database is locked, however long it was told to wait.
    """
    from prefect.server.database.configurations import AioSqliteConfiguration

    begin = AioSqliteConfiguration.begin_transaction

    def begin_to_write(self: Any, session: Any, with_for_update: bool = True) -> Any:
        return begin(self, session, with_for_update=True)

    AioSqliteConfiguration.begin_transaction = begin_to_write  # type: ignore[method-assign]


def forget_lost_events() -> None:
    """Has the automations wait seconds, not a quarter of an hour, for an event's predecessor.

    Only the process that saw the predecessor knows of it: after a restart of the server, the first
    crash of every run would be told, and cured, that much later.
    """
    from prefect.server.events.ordering import memory

    memory.PRECEDING_EVENT_LOOKBACK = LONGEST_WAIT_FOR_EVENT  # type: ignore[attr-defined]


def serve(host: str, port: int) -> None:
    """Serves the API, its pages and the background services until this process is told to end.

    Args:
        host: The address to listen on.
        port: The port to listen on.
    """
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import PREFECT_SERVER_CORS_ALLOWED_ORIGINS

    take_turns_at_writing()
    forget_lost_events()
    names = {_host(o.encode()) for o in PREFECT_SERVER_CORS_ALLOWED_ORIGINS.value().split(",")}
    uvicorn.run(
        Guard(create_app(final=True), names),
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
