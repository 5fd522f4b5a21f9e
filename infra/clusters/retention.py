"""What leaves MLflow and its artefact store for good: what people deleted, some time ago.

Prefect's own records leave by its background services, after the same number of days.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from infra import environment
from infra.servers import mlflow_server
from tasks.settings import Settings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

DELETED = "deleted"
TAKEN_BACK = (
    "%s was deleted, and %s was made by it: taken back. To let it go, delete the version first."
)
logger = logging.getLogger(__name__)


def collect(settings: Settings) -> None:
    """Removes runs, models and experiments that were deleted more than `keep_days` days ago.

    MLflow's own collection does not look whether a registered version stands on them; what one does
    is taken back from the deleted, so that it keeps its record and its files.
    """
    values = mlflow_server(settings).environment
    database = values["MLFLOW_BACKEND_STORE_URI"]
    environment.apply({**values, "MLFLOW_TRACKING_URI": database})
    from mlflow.cli import cli

    _take_back(database)
    cli(
        [
            "gc",
            "--older-than",
            f"{settings.keep_days}d",
            "--backend-store-uri",
            database,
            "--artifacts-destination",
            values["MLFLOW_ARTIFACTS_DESTINATION"],
        ],
        standalone_mode=False,
    )
    logger.info("What was deleted more than %d days ago is gone.", settings.keep_days)


def _take_back(database: str) -> None:
    """Restores each experiment, run and logged model by which a registered version was made."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=database, registry_uri=database)
    names: dict[str | None, str] = {}
    token: str | None = ""
    while token is not None:
        page = client.search_model_versions(page_token=token or None)
        for version in page:
            name = names[version.source] = f"version {version.version} of {version.name}"
            _take_back_run(client, version.run_id, name)
        token = page.token or None
    _take_back_models(database, names)


def _take_back_run(client: "MlflowClient", run_id: str | None, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id) if run_id else None
    except MlflowException:
        # collected before, or registered from elsewhere
        return
    if run is None:
        return
    experiment = client.get_experiment(run.info.experiment_id)
    if experiment.lifecycle_stage == DELETED:
        # with all of its runs, which would else leave with it
        client.restore_experiment(experiment.experiment_id)
        logger.warning(TAKEN_BACK, f"Experiment {experiment.name}", name)
    elif run.info.lifecycle_stage == DELETED:
        client.restore_run(run_id)
        logger.warning(TAKEN_BACK, f"Run {run_id}", name)


def _take_back_models(database: str, names: Mapping[str | None, str]) -> None:
    """Restores logged models, for which MLflow has no call; their files would leave with them.

    Args:
        database: Address of MLflow's database.
        names: Of the versions, by their sources.
    """
    from mlflow.store.tracking.dbmodels.models import SqlLoggedModel as Model
    from sqlalchemy import create_engine, select, update

    deleted = select(Model.model_id, Model.artifact_location).where(
        Model.lifecycle_stage == DELETED
    )
    engine = create_engine(database)
    try:
        with engine.begin() as connection:
            for model_id, place in connection.execute(deleted).all():
                name = names.get(place) or names.get(f"models:/{model_id}")
                if name:
                    restored = update(Model).where(Model.model_id == model_id)
                    connection.execute(restored.values(lifecycle_stage="active"))
                    logger.warning(TAKEN_BACK, f"Logged model {model_id}", name)
    finally:
        engine.dispose()
