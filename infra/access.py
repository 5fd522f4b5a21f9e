"""Who is let in: the password of both servers, and the names under which they are reached."""

import ipaddress
import os
import socket
import urllib.error
import urllib.request

from tasks.errors import ConfigError, ServiceError
from tasks.remote import basic_login, said_by_system, shown
from tasks.settings import Settings

MINIMUM_LENGTH = 12
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
# no address to go to, and where this machine finds itself instead
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
REFUSED = (401, 403)


def credentials(settings: Settings) -> tuple[str, str] | None:
    """User and password of both servers; None where nobody is asked for them.

    Raises:
        ConfigError: The file of the password cannot be read, or holds none that will do.
    """
    if settings.password is not None:
        return settings.user, settings.password.get_secret_value()
    path = settings.password_file
    if path is None:
        return None
    try:
        password = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(
            f"The password file {path} cannot be read ({reason}); expected one line of text. "
            "Correct ROUNDHOUSE_PASSWORD_FILE."
        ) from None
    if len(password) < MINIMUM_LENGTH or not password.isprintable():
        raise ConfigError(
            f"The password file {path} holds {len(password)} characters; expected one line of "
            f"{MINIMUM_LENGTH} or more. Write a longer password to it, or correct "
            "ROUNDHOUSE_PASSWORD_FILE."
        )
    return settings.user, password


def require_credentials(settings: Settings) -> None:
    """Sees that others than this machine are asked for a password, and that it can be used.

    Raises:
        ConfigError: The servers would listen to others and ask them for nothing.
    """
    if credentials(settings) is None and not is_loopback(settings.host):
        raise ConfigError(
            f"Received {settings.host} as the host to listen on, and no password: whoever reaches "
            "it could run code here. Set ROUNDHOUSE_PASSWORD or ROUNDHOUSE_PASSWORD_FILE "
            f"({MINIMUM_LENGTH} characters or more), or leave the host at 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    """Whether an address is one that only this machine can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def own_address(settings: Settings, port: int) -> str:
    """Where this machine itself reaches a server of the stack."""
    host = settings.host.strip("[]")
    return f"http://{_bracketed(EVERYWHERE.get(host, host))}:{port}"


def public_address(settings: Settings, port: int) -> str:
    """Where people reach a server: by the first of the names that the settings list, if any."""
    listed = _listed(settings)
    return f"http://{listed[0]}:{port}" if listed else own_address(settings, port)


def prefect_pages(settings: Settings) -> str:
    """Where links to the Prefect pages lead: to those that its address opens as well."""
    return f"{public_address(settings, settings.prefect_port)}/v2"


def allowed_hosts(settings: Settings) -> str:
    """What MLflow's host check lets through: each name, with and without a port."""
    # its patterns are those of fnmatch, in which a bracket begins a set of characters
    escaped = [(name, name.replace("[", "[[]")) for name in _names(settings)]
    return ",".join(pattern for name, with_port in escaped for pattern in (name, f"{with_port}:*"))


def allowed_origins(settings: Settings) -> str:
    """The origins whose pages may call the servers: each name, plain and on both ports."""
    ports = (settings.prefect_port, settings.mlflow_port)
    return ",".join(
        origin
        for name in _names(settings)
        for origin in (
            f"http://{name}",
            f"https://{name}",
            *(f"{scheme}://{name}:{port}" for scheme in ("http", "https") for port in ports),
        )
    )


def require_prefect(api_url: str, timeout_seconds: float) -> None:
    """Makes sure that a Prefect server answers and lets this process in.

    Args:
        api_url: Its address, ending in /api.
        timeout_seconds: How long to wait for an answer.

    Raises:
        ConfigError: It does not accept the password.
        ServiceError: It does not answer in time.
    """
    request = urllib.request.Request(f"{shown(api_url).rstrip('/')}/admin/version")
    if pair := os.environ.get("PREFECT_API_AUTH_STRING"):
        request.add_header("Authorization", basic_login(pair))
    elif key := os.environ.get("PREFECT_API_KEY"):
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds):
            return
    except urllib.error.HTTPError as error:
        if error.code in REFUSED:
            raise ConfigError(
                f"The Prefect server at {shown(api_url)} does not let us in (HTTP {error.code}); "
                "expected its user and password. Set ROUNDHOUSE_USER and ROUNDHOUSE_PASSWORD or "
                "ROUNDHOUSE_PASSWORD_FILE to those with which it was started."
            ) from None
        reason = f"HTTP {error.code}"
    except (urllib.error.URLError, OSError) as error:
        reason = said_by_system(error) or str(getattr(error, "reason", error))
    raise ServiceError(
        f"The Prefect server at {shown(api_url)} does not answer ({reason}); expected an answer in "
        f"{timeout_seconds:g} s. Start it, or correct ROUNDHOUSE_PREFECT_API_URL; unset, a server "
        "is started for the run."
    )


def _names(settings: Settings) -> tuple[str, ...]:
    """Every name under which the servers may be asked for, without ports."""
    host = settings.host.strip("[]")
    own = _machine_names() if host in EVERYWHERE else [host]
    return tuple(dict.fromkeys([*LOOPBACK_NAMES, *map(_bracketed, own), *_listed(settings)]))


def _machine_names() -> list[str]:
    """This machine's name and addresses; no other site can pretend to have them."""
    import psutil

    found = [
        link.address
        for links in psutil.net_if_addrs().values()
        for link in links
        if link.family in (socket.AF_INET, socket.AF_INET6)
    ]
    # an address of one link alone ends in its name, which no browser sends
    return [socket.gethostname(), *(address for address in found if "%" not in address)]


def _listed(settings: Settings) -> list[str]:
    return [name.strip() for name in settings.allowed_hosts.split(",") if name.strip()]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
