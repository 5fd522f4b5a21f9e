"""What leaves MLflow and its artefact store for good: what people deleted, some time ago.

Prefect's own records leave by its background services, after the same number of days.
"""

import logging

from infra import environment
from infra.servers import mlflow_server
from tasks.settings import Settings

logger = logging.getLogger(__name__)


def collect(settings: Settings) -> None:
    """Removes runs, models and experiments that were deleted more than `keep_days` days ago.

    MLflow's own collection does not look whether a registered version stands on a run; such a run
    is taken back from the deleted ones, so that its version keeps its record.
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
    """Restores each deleted run by which a registered version was made."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=database, registry_uri=database)
    token: str | None = ""
    while token is not None:
        page = client.search_model_versions(page_token=token or None)
        for version in page:
            try:
                run = client.get_run(version.run_id) if version.run_id else None
            except MlflowException:
                # collected before, or registered from elsewhere
                continue
            if run is not None and run.info.lifecycle_stage == "deleted":
                client.restore_run(version.run_id)
                logger.warning(
                    "Run %s was deleted, and version %s of %s was made by it: taken back. To let "
                    "it go, delete the version first.",
                    version.run_id, version.version, version.name,
                )  # fmt: skip
        token = page.token or None
