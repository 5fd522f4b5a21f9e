"""Fetches single files from http(s) addresses and object stores; each failure is one sentence."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tasks.errors import ConfigError, ServiceError, SourceError

logger = logging.getLogger(__name__)
# object stores answer 403 for a missing file to those who may not list the folder
NOT_THERE = (403, 404, 410)
BUSY = 429
SERVER_ERROR = 500
CHUNK_BYTES = 1 << 20


def is_remote(location: str) -> bool:
    """Whether a location is an address, not a folder of this machine."""
    return "://" in location and not location.startswith("file://")


def shown(address: str) -> str:
    """An address as it may be shown: without a password and a query, which may hold a key."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


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
            raise ServiceError(f"{said}. Try again later, or set ingestion.location.") from error
        raise SourceError(f"{said}; expected the file. Set ingestion.location.") from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise ConfigError(
            f"The address {shown(address)} is not a valid one. Set ingestion.location or "
            "ROUNDHOUSE_DATA_DIR to a folder or an address that begins with http:// or https://."
        ) from error
    except requests.exceptions.RequestException as error:
        raise _no_answer(address, error, timeout_seconds) from error
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
            f"The address {shown(address)} cannot be opened: {error}. Install what its protocol "
            "needs (for s3:// the extra roundhouse-ml[s3]), or set ingestion.location to a folder."
        ) from error
    try:
        filesystem.get_file(key, str(path))
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise SourceError(
            f"The address {shown(address)} may not be read with the credentials at hand. Set "
            "those of its object store, or set ingestion.location to another place."
        ) from error
    except Exception as error:  # every store has its own exceptions
        raise _no_answer(address, error, timeout_seconds) from error
    return True


def _no_answer(address: str, error: BaseException, timeout_seconds: float) -> ServiceError:
    """Names the root of a chain of exceptions; their texts may quote the address in full."""
    root = error
    while (below := root.__cause__ or root.__context__) is not None:
        root = below
    strerror = root.strerror if isinstance(root, OSError) else None
    return ServiceError(
        f"The address {shown(address)} did not answer within {timeout_seconds:g} s, or broke off: "
        f"{strerror or type(root).__name__}. Check the network, or set ROUNDHOUSE_DATA_DIR or "
        "ingestion.location to a folder with the files."
    )
