"""Fetches single files from http(s) addresses and object stores; each failure is one sentence.

No failure has its cause attached: the texts of clients quote addresses in full, passwords and all,
and a traceback shows them.
"""

from __future__ import annotations

import base64
import logging
import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tasks.errors import ConfigError, ServiceError, SourceError

logger = logging.getLogger(__name__)
# object stores answer 403 for a missing file to those who may not list the folder
NOT_THERE = (403, 404, 410)
ELSEWHERE = "point ROUNDHOUSE_DATA_DIR or ingestion.location at another place"
BUSY = 429
SERVER_ERROR = 500
CHUNK_BYTES = 1 << 20
# what stands before the host of an address, and what a question mark begins
USER = re.compile(r"(?<=://)[^\s/?#@]*@(?:[^\s/?#@]*@)*")
QUERY = re.compile(r"(?<=\?)[^\s'\")]+")


def is_remote(location: str) -> bool:
    """Whether a location is an address, not a folder of this machine."""
    return "://" in location and not location.startswith("file://")


def shown(address: str) -> str:
    """An address as it may be shown: without a password and a query, which may hold a key."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def basic_login(login: str) -> str:
    """The Authorization header of HTTP's basic scheme (RFC 7617).

    Args:
        login: `user:password`.
    """
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def scrubbed(text: str) -> str:
    """A text as it may be shown: its addresses without users, passwords and queries."""
    text = USER.sub("", text)
    return QUERY.sub("...", text) if "://" in text or "url: /" in text else text


def holds_secret(address: str) -> bool:
    """Whether an address holds a password, a token or a query, which may hold a key.

    A user alone is none where it is a part of the place, as in `abfs://container@account`.
    """
    if not is_remote(address):
        return False
    user = USER.search(address)
    is_secret = user is not None and (":" in user.group() or address.startswith("http"))
    return is_secret or "?" in address


def said_by_system(error: BaseException) -> str:
    """What the system said, below what clients made of it; empty if it said nothing."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
        link = link.__cause__ or link.__context__
    return ""


def fetch(address: str, path: Path, timeout_seconds: float) -> bool:
    """Writes what is at an address to a file.

    Args:
        address: Of one file; http, https, or a protocol that fsspec knows.
        path: Where to write; may be left half-written by a failure.
        timeout_seconds: How long to wait for each answer.

    Returns:
        Whether there was anything at the address.

    Raises:
        ServiceError: The address does not answer, or breaks off.
        SourceError: It refuses to give the file.
        ConfigError: Nothing installed knows the protocol.
    """
    logger.info("fetching %s", shown(address))
    if address.startswith(("http://", "https://")):
        return _fetch_http(address, path, timeout_seconds)
    return _fetch_object(address, path, timeout_seconds)


def _fetch_http(address: str, path: Path, timeout_seconds: float) -> bool:
    import pooch
    import requests

    download = pooch.HTTPDownloader(chunk_size=CHUNK_BYTES, timeout=timeout_seconds)
    try:
        download(address, str(path), None)
    except requests.exceptions.HTTPError as error:
        response = error.response
        status, reason = (
            (response.status_code, response.reason) if response is not None else (0, "")
        )
        if status in NOT_THERE:
            return False
        said = f"The address {shown(address)} answers HTTP {status} {reason}"
        if status == BUSY or status >= SERVER_ERROR:
            raise ServiceError(f"{said}. Try again later, or {ELSEWHERE}.") from None
        raise SourceError(f"{said}; expected the file. Correct it, or {ELSEWHERE}.") from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema):
        raise ConfigError(
            f"The address {shown(address)} is not a valid one. Set ingestion.location or "
            "ROUNDHOUSE_DATA_DIR to a folder or an address that begins with http:// or https://."
        ) from None
    except requests.exceptions.RequestException as error:
        raise _no_answer(address, error, timeout_seconds) from None
    return True


def _fetch_object(address: str, path: Path, timeout_seconds: float) -> bool:
    import fsspec

    options: dict[str, object] = {}
    if address.startswith("s3"):
        waiting = {"connect_timeout": timeout_seconds, "read_timeout": timeout_seconds}
        options["config_kwargs"] = {**waiting, "retries": {"max_attempts": 1}}
    try:
        filesystem, key = fsspec.core.url_to_fs(address, **options)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"The address {shown(address)} cannot be opened: {scrubbed(str(error))}. Install what "
            "its protocol needs (for s3:// the extra roundhouse-ml[s3]), or set "
            "ingestion.location to a folder."
        ) from None
    try:
        filesystem.get_file(key, str(path))
    except FileNotFoundError:
        return False
    except PermissionError:
        raise SourceError(
            f"The address {shown(address)} may not be read with the credentials at hand. Set "
            "those of its object store, or set ingestion.location to another place."
        ) from None
    except Exception as error:  # every store has its own exceptions
        raise _no_answer(address, error, timeout_seconds) from None
    return True


def _no_answer(address: str, error: BaseException, timeout_seconds: float) -> ServiceError:
    said = said_by_system(error) or type(error).__name__
    return ServiceError(
        f"The address {shown(address)} did not answer within {timeout_seconds:g} s, or broke off: "
        f"{said}. Check the network, or set ROUNDHOUSE_DATA_DIR or ingestion.location to a folder "
        "with the files."
    )
