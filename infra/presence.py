"""Whether `roundhouse up` serves this home now, and where: a record in the home says so."""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import ConfigError
from tasks.settings import Settings

if TYPE_CHECKING:
    import psutil

RECORD = "stack.json"
POLL_SECONDS = 0.2
# the system tells creation times by a clock that may be set in the meantime
CLOCK_SECONDS = 5.0


@dataclass(frozen=True)
class Stack:
    """A stack that serves a home.

    Args:
        process: Process number of its `roundhouse up`.
        prefect: Address of the Prefect pages.
        mlflow: Address of the MLflow server and its pages.
        answers: Whether both servers have answered; before that it is starting.
    """

    process: int
    prefect: str
    mlflow: str
    answers: bool = True

    @property
    def prefect_api(self) -> str:
        """Address of the Prefect API."""
        return f"{self.prefect}/api"


def find_stack(settings: Settings) -> Stack | None:
    """The stack that serves this home now, or that is starting to; None where there is none."""
    record = read_record(settings)
    if not record or find_process(record["process"]) is None:
        return None
    return Stack(
        process=record["process"]["number"],
        prefect=record["prefect"],
        mlflow=record["mlflow"],
        answers=record["answers"],
    )


def joined(settings: Settings) -> Settings:
    """The settings with the running stack's addresses, where the user has set none of his own.

    A stack that is still starting is waited for. Where none runs, the settings are untouched.

    Args:
        settings: Places and addresses.

    Raises:
        ConfigError: The servers' databases are elsewhere, and no server is there to reach them.
    """
    if settings.prefect_api_url and settings.tracking_uri:
        return settings
    stack = _answering(settings)
    if stack is None:
        _require_own_databases(settings)
        return settings
    return settings.model_copy(
        update={
            "prefect_api_url": settings.prefect_api_url or stack.prefect_api,
            "tracking_uri": settings.tracking_uri or stack.mlflow,
        }
    )


def read_record(settings: Settings) -> dict[str, Any]:
    """What the last stack on this home wrote about itself; empty where there is nothing."""
    try:
        record = json.loads(_path(settings).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and {*_EMPTY} <= {*record} else {}


def write_record(settings: Settings, stack: Stack, parts: Mapping[str, int]) -> None:
    """Says that this process serves the home.

    Args:
        settings: Places and addresses.
        stack: What is served.
        parts: Process number of each part by its name.
    """
    record = {
        **_EMPTY,
        "process": describe_process(stack.process),
        "prefect": stack.prefect,
        "mlflow": stack.mlflow,
        "answers": stack.answers,
        "parts": {name: describe_process(number) for name, number in parts.items()},
    }
    aside = _path(settings).with_suffix(".new")
    aside.write_text(json.dumps(record, indent=2), encoding="utf-8")
    aside.replace(_path(settings))


def drop_record(settings: Settings) -> None:
    """Says that nothing serves the home any more."""
    _path(settings).unlink(missing_ok=True)


def describe_process(number: int) -> dict[str, Any]:
    """A process such that it is not taken for a later one of the same number."""
    import psutil

    try:
        return {"number": number, "created": psutil.Process(number).create_time()}
    except psutil.Error:
        return {"number": number, "created": 0.0}


def find_process(described: Mapping[str, Any]) -> "psutil.Process | None":
    """The process that was described, if it still runs."""
    import psutil

    try:
        process = psutil.Process(described["number"])
        same = abs(process.create_time() - described["created"]) < CLOCK_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _answering(settings: Settings) -> Stack | None:
    said = False
    while (stack := find_stack(settings)) and not stack.answers and stack.process != os.getpid():
        if not said:
            sys.stderr.write(
                f"`roundhouse up` (process {stack.process}) is starting; waiting for its servers.\n"
            )
            said = True
        time.sleep(POLL_SECONDS)
    return stack


def _require_own_databases(settings: Settings) -> None:
    for setting, value, address in (
        ("ROUNDHOUSE_PREFECT_DATABASE", settings.prefect_database, settings.prefect_api_url),
        ("ROUNDHOUSE_MLFLOW_DATABASE", settings.mlflow_database, settings.tracking_uri),
    ):
        if value and not address:
            raise ConfigError(
                f"{setting} is set, but `roundhouse up`, which serves that database, does not run; "
                "expected it to, as the database in the home is another one. Start it, or set "
                "ROUNDHOUSE_PREFECT_API_URL and ROUNDHOUSE_TRACKING_URI to servers that run."
            )


def _path(settings: Settings) -> Path:
    return settings.home_folder / RECORD


_EMPTY = {"process": {}, "prefect": "", "mlflow": "", "answers": False, "parts": {}}
