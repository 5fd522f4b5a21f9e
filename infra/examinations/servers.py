"""Whether both servers answer as browsers and workers will ask them."""

import json
import time
from typing import Any
from urllib.parse import urljoin, urlsplit

from infra import access
from infra.examinations.findings import MLFLOW_URL, PREFECT_URL, Finding, Stack, ask, reason
from tasks.probe import clock_offset, find_versions

REFUSED = (401, 403)
OK = 200
CLOCK_SECONDS = 5.0
WEBSOCKET_SECONDS = 5.0
EXPERIMENTS = "/api/2.0/mlflow/experiments/search"
MLFLOW_NOT_A_SERVER = "the home's own database, no server"


def prefect_answers(stack: Stack) -> list[Finding]:
    """Whether the Prefect API is there and lets us in."""
    import httpx

    what = "Prefect"
    try:
        stack.ask_prefect("/health").raise_for_status()
        answer = stack.ask_prefect("/admin/version")
    except httpx.HTTPError as error:
        return [_silent(what, stack.prefect, error, PREFECT_URL)]
    if answer.status_code in REFUSED:
        return [_refused(what, stack.prefect, stack.prefect_login)]
    if answer.status_code != OK:
        return [_strange(what, stack.prefect, answer, PREFECT_URL)]
    open_to = _open_to_all(stack, f"{stack.prefect}/admin/version") if stack.prefect_login else []
    return [Finding(what, f"{stack.prefect} answers{_login(stack.prefect_login)}"), *open_to]


def mlflow_answers(stack: Stack) -> list[Finding]:
    """Whether the MLflow server is there and lets us in."""
    import httpx

    what = "MLflow"
    if not stack.mlflow:
        return [Finding(what, f"{MLFLOW_NOT_A_SERVER}: {stack.settings.mlflow_uri}")]
    try:
        stack.ask_mlflow("/health").raise_for_status()
        answer = stack.ask_mlflow(EXPERIMENTS, method="POST", body={"max_results": 1})
    except httpx.HTTPError as error:
        return [_silent(what, stack.mlflow, error, MLFLOW_URL)]
    if "Host" in answer.text and answer.status_code in REFUSED:
        return [_host_refused(urlsplit(stack.mlflow).netloc)]
    if answer.status_code in REFUSED:
        return [_refused(what, stack.mlflow, stack.mlflow_login)]
    if answer.status_code != OK:
        return [_strange(what, stack.mlflow, answer, MLFLOW_URL)]
    address = f"{stack.mlflow}{EXPERIMENTS}?max_results=1"
    open_to = _open_to_all(stack, address) if stack.mlflow_login else []
    return [Finding(what, f"{stack.mlflow} answers{_login(stack.mlflow_login)}"), *open_to]


def pages(stack: Stack) -> list[Finding]:
    """Whether the Prefect pages know an address of the API that a browser here reaches."""
    import httpx

    what = "Prefect pages"
    cure = (
        "set PREFECT_SERVER_UI_API_URL of the server to /api, or to the API as browsers reach it, "
        "and start it again; `roundhouse up` does so"
    )
    try:
        answer = ask(f"{stack.pages}/ui-settings", stack.settings)
        answer.raise_for_status()
        told = str(answer.json()["api_url"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        fact = f"{stack.pages} serves no pages ({reason(error)})"
        return [Finding(what, fact, "set PREFECT_SERVER_UI_ENABLED=true for the server")]
    address = urljoin(f"{stack.pages}/", told)
    host, own = urlsplit(address).hostname or "", urlsplit(stack.pages).hostname or ""
    if host in access.EVERYWHERE:
        return [Finding(what, f"send browsers to {address}, which is no address", cure)]
    if access.is_loopback(host) and not access.is_loopback(own):
        fact = f"send browsers to {address}, which on other machines is themselves"
        return [Finding(what, fact, cure)]
    try:
        health = ask(f"{address}/health", stack.settings, headers={"Origin": stack.pages})
        health.raise_for_status()
    except httpx.HTTPError as error:
        fact = f"send browsers to {address}, which does not answer ({reason(error)})"
        return [Finding(what, fact, cure)]
    allowed = health.headers.get("access-control-allow-origin", "")
    if urlsplit(address)[:2] != urlsplit(stack.pages)[:2] and allowed not in ("*", stack.pages):
        fact = f"send browsers to {address}, which lets no page of {stack.pages} ask it"
        return [Finding(what, fact, cure)]
    return [Finding(what, f"{stack.pages}, and browsers find the API at {address}")]


def websocket(stack: Stack) -> list[Finding]:
    """Whether the API takes a websocket, by which events and logs are told."""
    from websockets.exceptions import ConnectionClosed, WebSocketException
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    what = "websocket"
    address = f"ws{stack.prefect.removeprefix('http')}/events/out"
    try:
        with connect(
            address,
            subprotocols=[Subprotocol("prefect")],
            open_timeout=WEBSOCKET_SECONDS,
            close_timeout=1,
        ) as socket:
            socket.send(json.dumps({"type": "auth", "token": stack.prefect_login}))
            welcome: dict[str, Any] = json.loads(socket.recv(timeout=WEBSOCKET_SECONDS))
    except ConnectionClosed as error:
        why = error.rcvd.reason if error.rcvd else "closed"
        fact = f"{address} refuses the credentials ({why or 'closed'})"
        return [Finding(what, fact, "set ROUNDHOUSE_PASSWORD to that of the server")]
    except (WebSocketException, OSError, TimeoutError, ValueError) as error:
        fact = f"{address} does not open ({reason(error)})"
        cure = "let the proxy in front of it pass the headers Upgrade and Connection"
        return [Finding(what, fact, cure)]
    if welcome.get("type") != "auth_success":
        return [Finding(what, f"{address} refuses the credentials", "set ROUNDHOUSE_PASSWORD")]
    return [Finding(what, f"{address} opens")]


def prefect_version(stack: Stack) -> list[Finding]:
    """Whether client and server are of one version of Prefect."""
    return [_same_version("Prefect", "prefect", str(stack.ask_prefect("/admin/version").json()))]


def mlflow_version(stack: Stack) -> list[Finding]:
    """Whether client and server are of one version of MLflow."""
    return [_same_version("MLflow", "mlflow", stack.ask_mlflow("/version").text.strip())]


def hosts(stack: Stack) -> list[Finding]:
    """Whether MLflow lets in requests under the names by which people reach it."""
    parts = urlsplit(stack.mlflow)
    port = f":{parts.port}" if parts.port else ""
    listed = [name.strip() for name in stack.settings.allowed_hosts.split(",") if name.strip()]
    names = [parts.netloc, *(name if ":" in name else f"{name}{port}" for name in listed)]
    for name in dict.fromkeys(names):
        headers = {"Host": name, "Origin": f"{parts.scheme}://{name}"}
        answer = stack.ask_mlflow(
            EXPERIMENTS, method="POST", body={"max_results": 1}, headers=headers
        )
        if answer.status_code in REFUSED:
            return [_host_refused(name)]
    return [Finding("MLflow's host check", f"lets in {', '.join(dict.fromkeys(names))}")]


def clocks(stack: Stack) -> list[Finding]:
    """Whether the servers' clocks go as ours."""
    found = {
        name: offset
        for name, address in (("Prefect", stack.prefect), ("MLflow", stack.mlflow))
        if address
        and (offset := clock_offset(f"{address}/health", stack.settings.timeout_seconds))
        is not None
    }
    return [clock_finding("clocks", found, "here")]


def clock_finding(what: str, offsets: dict[str, float], where: str) -> Finding:
    """Whether clocks are near enough to each other.

    Args:
        what: What was looked at.
        offsets: Per server, the seconds by which it is ahead.
        where: Where that was measured.
    """
    wrong = {name: s for name, s in offsets.items() if abs(s) >= CLOCK_SECONDS}
    if wrong:
        said = ", ".join(
            f"{name} is {seconds:+.0f} s from {where}" for name, seconds in wrong.items()
        )
        cure = "keep both machines' clocks by NTP, such as `timedatectl set-ntp true`"
        return Finding(what, said, cure)
    now = time.strftime("%H:%M:%S %Z")
    return Finding(what, f"{' and '.join(offsets) or 'no server'} within a second or so of {now}")


def _same_version(what: str, name: str, there: str) -> Finding:
    here = find_versions()[name]
    if here == there:
        return Finding(f"{what} version", f"{here} here and there")
    cure = f"install {name}=={there} here, or {here} there: both come from requirements.lock"
    return Finding(f"{what} version", f"{here} here, {there} at the server", cure)


def _silent(what: str, address: str, error: Exception, setting: str) -> Finding:
    fact = f"{address} does not answer ({reason(error)})"
    return Finding(what, fact, f"start `roundhouse up`, or correct {setting}")


def _refused(what: str, address: str, login: str | None) -> Finding:
    had = "refuses the credentials" if login else "asks for credentials, and none are set"
    cure = "set ROUNDHOUSE_PASSWORD or ROUNDHOUSE_PASSWORD_FILE (and ROUNDHOUSE_USER) to its own"
    return Finding(what, f"{address} {had}", cure)


def _strange(what: str, address: str, answer: Any, setting: str) -> Finding:
    fact = f"{address} answers HTTP {answer.status_code} where its version was expected"
    return Finding(what, fact, f"correct {setting}, or see the server's log")


def _open_to_all(stack: Stack, address: str) -> list[Finding]:
    """What is wrong where a server that has a password lets in whoever has none."""
    if ask(address, stack.settings).status_code in REFUSED:
        return []
    fact = f"{address.partition('?')[0]} lets in whoever has no password"
    return [Finding("password", fact, "start `roundhouse up` again with ROUNDHOUSE_PASSWORD set")]


def _host_refused(name: str) -> Finding:
    cure = (
        "add it to ROUNDHOUSE_ALLOWED_HOSTS and start `roundhouse up` again; for a server of your "
        "own set MLFLOW_SERVER_ALLOWED_HOSTS and MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"
    )
    return Finding("MLflow's host check", f"refuses requests for {name}", cure)


def _login(login: str | None) -> str:
    return ", and accepts the credentials" if login else ", and asks for no credentials"
