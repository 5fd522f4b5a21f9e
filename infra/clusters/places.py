"""Where runs read and write: what pods of their own can share and reach, and nothing else."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from infra.clusters.variables import SETTINGS_MAP
from infra.examinations.findings import Finding
from tasks.errors import ConfigError
from tasks.remote import shown

PREFECT, MLFLOW = "ROUNDHOUSE_PREFECT_API_URL", "ROUNDHOUSE_TRACKING_URI"
STORES = {
    "ROUNDHOUSE_STORAGE": "s3://models/storage",
    "ROUNDHOUSE_ARTIFACTS": "s3://models/artifacts",
}
SERVERS = {PREFECT: "http://prefect:4200/api", MLFLOW: "http://mlflow:5000"}
EXAMPLES = {**STORES, **SERVERS}


def unfit_places(values: Mapping[str, str]) -> list[Finding]:
    """What runs in pods of their own could not share, or not reach.

    Args:
        values: The settings that a run is given, by the names of their variables.
    """
    where = f"in the config map {SETTINGS_MAP}"
    found = []
    for name, example in EXAMPLES.items():
        if fact := _unfit(name, (values.get(name) or "").strip()):
            what = "a bucket" if name in STORES else "a server"
            found.append(Finding(name, fact, f"set it {where} to {what}, such as {example}"))
    if not values.get("ROUNDHOUSE_USER"):
        fact = "not set, so nobody would let runs in"
        found.append(Finding("ROUNDHOUSE_USER", fact, f"set it {where}, such as admin"))
    return found


def require_shared(variables: Mapping[str, object], whose: str) -> None:
    """Refuses environment variables by which a run would keep what it makes to its own pod.

    Args:
        variables: Their values by name; what they leave out is as the config map says.
        whose: Whose they are, for the error.

    Raises:
        ConfigError: One would.
    """
    for name, example in EXAMPLES.items():
        value = str(variables.get(name) or "").strip()
        if name in variables and "$(" not in value and (fact := _unfit(name, value)):
            raise ConfigError(
                f"The environment variables of {whose}: {fact}. Expected a place that all pods "
                f"share, such as {example}; or leave it out of `env`, and the config map "
                f"{SETTINGS_MAP} says where."
            )


def require_shared_in(manifest: dict[str, Any]) -> None:
    """Refuses a Job whose run would keep what it makes to its own pod.

    Args:
        manifest: As Prefect would send it.

    Raises:
        ConfigError: It would.
    """
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    given = {v["name"]: v["value"] for v in container.get("env") or () if "value" in v}
    require_shared(given, "this run")


def _unfit(name: str, value: str) -> str:
    """Why a place is not fit for runs in pods; empty where it is."""
    if name in SERVERS:
        why = _why_unreachable(name, value)
        return f"{name} is {why}" if why else ""
    if value.startswith("s3://"):
        return ""
    if "://" in value and not value.startswith(("file:", "memory:", "local:")):
        return (
            f"{name} is {shown(value)!r}, and the image reads and writes buckets of S3 alone, for "
            "which other clouds have gateways"
        )
    said = f"{name} is {shown(value)!r}" if value else f"{name} is not set"
    return f"{said}, so each pod would keep its own, which is gone with it"


def _why_unreachable(name: str, value: str) -> str:
    if not value:
        return "not set, so each pod would have a server of its own"
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
    except ValueError:
        return f"{shown(value)!r} is no address"
    if parts.scheme not in ("http", "https") or not host:
        return f"{shown(value)!r} is of a pod's own disk, which others do not see"
    if host in ("localhost", "::1", "0.0.0.0") or host.startswith("127."):
        return f"{shown(value)!r} means a pod itself, and no server is there"
    if name == PREFECT and not parts.path.rstrip("/").endswith("/api"):
        return f"{shown(value)!r} does not end in /api"
    return ""
