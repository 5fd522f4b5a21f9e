"""The lineage of a version, as the run that completed it has kept it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tasks.appraisal import Lineage
from tasks.errors import ConfigError
from tasks.lineage import COMMIT
from tasks.registry import RECORDED, Registry
from tasks.services import service_errors
from tasks.storage import Storage

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

LINEAGE_FILE = "lineage.json"


def recorded_lineage(registry: Registry, number: int, mlflow_uri: str, storage: Storage) -> Lineage:
    """All hand-offs of the run that made a version.

    Args:
        registry: The registered model.
        number: The version.
        mlflow_uri: Address of tracking store and registry.
        storage: Gives room for a copy.

    Raises:
        ConfigError: The version was never recorded to the end, its run is gone, or an earlier
            release wrote its lineage.
    """
    who = f"v{number} of {registry.name}"
    run_id = registry.version(number).tags.get(RECORDED)
    if not run_id:
        raise ConfigError(
            f"The lineage of {who} is incomplete: the run that made it ended before it was kept, "
            "or an earlier release made it. Expected a version whose run came to its end. Complete "
            f"it with `roundhouse run {registry.name}`, or name another version."
        )
    with service_errors(mlflow_uri):
        written = _read(registry.client, run_id, storage)
    if written is None:
        raise ConfigError(
            f"The run {run_id}, which keeps the lineage of {who}, has no {LINEAGE_FILE} any more; "
            "expected all of its files. Bring back the run's artefacts, or name another version."
        )
    try:
        return Lineage.model_validate_json(written)
    except ValidationError:
        raise ConfigError(
            f"The lineage of {who} was written by another release than this one, which has other "
            f"hand-offs; expected those of this release.{_checkout(written)}"
        ) from None


def _read(client: "MlflowClient", run_id: str, storage: Storage) -> str | None:
    from mlflow.exceptions import MlflowException

    try:
        names = {file.path for file in client.list_artifacts(run_id)}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    if LINEAGE_FILE not in names:
        return None
    with storage.workspace() as folder:
        return Path(client.download_artifacts(run_id, LINEAGE_FILE, str(folder))).read_text()


def _checkout(written: str) -> str:
    """How to get the code that wrote a lineage, where it says which that was."""
    try:
        commit = json.loads(written)["surroundings"][COMMIT]
    except (ValueError, LookupError, TypeError):
        return " Use the release that made it."
    return f" Check out the commit that made it: git worktree add ../roundhouse-then {commit}."
