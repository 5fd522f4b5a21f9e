"""The environment that Prefect, MLflow and TensorFlow read, set before any of them is imported."""

import os
from collections.abc import Mapping
from pathlib import Path

from infra import access
from tasks.devices import MEMORY_GROWTH
from tasks.keys import PRIVACY_KEY, STORAGE_KEY
from tasks.remote import holds_secret
from tasks.settings import Settings

# telemetry of every part is off, whatever the parts' own defaults
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # at its first import it would make up an identifier of this machine, and send what it sees
    "ORT_DISABLE_TELEMETRY": "true",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}

# what our stages log is shown in the Prefect UI; the terminal has a display of its own
PREFECT = {"PREFECT_LOGGING_SETTINGS_PATH": str(Path(__file__).with_name("logging.yml"))}

# servers see no rows, and need none of the keys that guard them
WITHOUT_KEYS = {STORAGE_KEY: "", PRIVACY_KEY: ""}

# a server for one run has no user interface that would need the block types
EMBEDDED = {"PREFECT_SERVER_API_BLOCKS_REGISTER_ON_START": "false", **WITHOUT_KEYS}


def environment(settings: Settings, prefect_api_url: str | None = None) -> dict[str, str]:
    """What a process that runs flows, or serves their API, needs in its environment.

    Args:
        settings: Places and addresses.
        prefect_api_url: The Prefect API to use, ending in /api; None for a process that is the API.
    """
    proxied = os.environ.get("NO_PROXY", os.environ.get("no_proxy", ""))
    direct = ",".join(part for part in (proxied, "127.0.0.1,localhost") if part)
    values = {
        # MLflow's own patience is minutes for each call; our stages try again as well
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3"),
        **QUIET,
        **{name: os.environ.get(name, value) for name, value in MEMORY_GROWTH.items()},
        **PREFECT,
        # a proxy for the world outside has no way to a server of this machine
        "NO_PROXY": direct,
        "no_proxy": direct,
        "PREFECT_HOME": os.environ.get("PREFECT_HOME", str(settings.home_folder / "prefect")),
    }
    if prefect_api_url is None:
        return values
    return {
        **values,
        "PREFECT_API_URL": prefect_api_url,
        **_pages(settings),
        **credentials(settings),
        # a flow run is a process of its own, elsewhere, and must find the same places
        "ROUNDHOUSE_HOME": str(settings.home_folder),
        **({"ROUNDHOUSE_TRACKING_URI": settings.tracking_uri} if settings.tracking_uri else {}),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(settings.heartbeat_seconds),
    }


def _pages(settings: Settings) -> dict[str, str]:
    """Where links to the Prefect pages lead; empty where Prefect itself finds out."""
    own = access.own_address(settings, settings.prefect_port)
    # an embedded server has no pages and is gone after the run; `roundhouse up` serves them
    if settings.prefect_api_url in (None, f"{own}/api"):
        return {"PREFECT_UI_URL": access.prefect_pages(settings)}
    return {}


def credentials(settings: Settings) -> dict[str, str]:
    """What lets this process in as a client of the servers; empty where no password is set."""
    pair = access.credentials(settings)
    if pair is None:
        return {}
    # a key for Prefect's cloud, set beside it, would be sent instead by some of its clients
    values = {"PREFECT_API_AUTH_STRING": ":".join(pair), "PREFECT_API_KEY": ""}
    if holds_secret(settings.mlflow_uri):
        # the address has a user of its own, which these would override
        return values
    return {**values, "MLFLOW_TRACKING_USERNAME": pair[0], "MLFLOW_TRACKING_PASSWORD": pair[1]}


def apply(values: Mapping[str, str]) -> None:
    """Puts values into this process's environment, which its children inherit."""
    os.environ.update(values)
