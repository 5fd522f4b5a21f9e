"""A package as an MLflow logged model, which a killed run leaves open and the next one settles.

The version of a package is made last, when all of its files are there. A run that is killed before
leaves a logged model that no version points to. Each is tagged as open until its version is there,
so what was left is found: the same run goes on with its own, and what nobody will go on with is
deleted together with its files.
"""

import json
import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks import processes, tracking
from tasks.handoffs import RunContext
from tasks.judgement import Evaluation, Package
from tasks.registry import Registry
from tasks.storage import Storage

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

REGISTRATION, OPEN, DONE = "roundhouse.registration", "open", "done"
# where a process cannot be asked after, on another machine, this long says that it is gone
LEFT_AFTER_SECONDS = 24 * 3600.0
logger = logging.getLogger(__name__)


def settle_left_open(
    context: RunContext, registry: Registry, identity: Mapping[str, str]
) -> "LoggedModel | None":
    """Finishes or deletes the logged models that killed runs of the experiment left.

    Whoever calls it holds the registry's lock. One whose run may still be at work on another
    machine is left alone.

    Args:
        context: The run.
        registry: The pipeline's registered model.
        identity: The tags of what the run is about to register.

    Returns:
        The one that the run itself began to make of this very package, to go on with.
    """
    found = registry.client.search_logged_models(
        [context.experiment_id], f"tags.`{REGISTRATION}` = '{OPEN}'"
    )
    own = None
    for model in found:
        version = registry.made_from(model.artifact_location)
        theirs = {key: model.tags.get(key, "") for key in identity}
        if version is not None:
            conclude(context, registry, model, version, theirs)
        elif own is None and theirs == identity and model.source_run_id == context.run_id:
            own = model
        elif model.source_run_id == context.run_id or not _is_at_work(context, model):
            discard(context, registry, model)
    return own


def log_package(
    context: RunContext,
    registry: Registry,
    package: Package,
    identity: Mapping[str, str],
    begun: "LoggedModel | None" = None,
) -> "LoggedModel":
    """The package as a model of the run; a failure leaves one that is marked as failed.

    Args:
        context: The run.
        registry: The pipeline's registered model.
        package: Its files.
        identity: Tags by which it is found again.
        begun: One that was begun and not finished.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    client = registry.client
    # a READY one has all of its files, whatever came after them
    model = begun or client.create_logged_model(
        context.experiment_id,
        registry.name,
        context.run_id,
        tags={**identity, REGISTRATION: OPEN},
    )
    if model.status != LoggedModelStatus.READY:
        status = LoggedModelStatus.FAILED
        try:
            _upload(context, registry, package, model)
            status = LoggedModelStatus.READY
        finally:
            model = client.finalize_logged_model(model.model_id, status)
    linked = client.get_run(context.run_id).outputs.model_outputs
    if model.model_id not in {output.model_id for output in linked}:
        client.log_outputs(context.run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def log_metrics(
    context: RunContext, registry: Registry, model: "LoggedModel", evaluation: Evaluation
) -> None:
    """Shows the run's test metrics on the model's own page, as the very same points."""
    from mlflow.entities import Metric

    points = [
        Metric(p.key, p.value, p.timestamp, p.step, model.model_id, run_id=context.run_id)
        for name in evaluation.metrics
        for p in registry.client.get_metric_history(context.run_id, f"test/{name}")[-1:]
    ]
    registry.client.log_batch(context.run_id, metrics=points)


def conclude(
    context: RunContext,
    registry: Registry,
    model: "LoggedModel",
    version: int,
    identity: Mapping[str, str],
) -> int:
    """Says on a logged model which version it became, so that nobody looks after it any more.

    The registry's lock holds on one machine only. Versions are numbered in their order, so of two
    machines that made the same one at once, the later sees the earlier and takes its own back.

    Returns:
        The version that counts: the first of this identity.
    """
    first = registry.find(identity)
    if first is not None and first != version:
        logger.info("Another machine registered the same as v%d meanwhile", first)
        registry.client.delete_model_version(registry.name, str(version))
        discard(context, registry, model)
        return first
    link = [{"name": registry.name, "version": version}]
    tags = {"mlflow.modelVersions": json.dumps(link), REGISTRATION: DONE}
    registry.client.set_logged_model_tags(model.model_id, tags)
    return version


def discard(context: RunContext, registry: Registry, model: "LoggedModel") -> None:
    """Deletes a logged model, its files first: a failure leaves it to be found by the next run."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    try:
        repository = get_artifact_repository(
            model.artifact_location, tracking_uri=context.mlflow_uri
        )
        repository.delete_artifacts()
        registry.client.delete_logged_model(model.model_id)
    except Exception as error:  # of any store: what is left over must not stop a registration
        logger.warning("The unfinished model %s could not be deleted: %s", model.model_id, error)
        return
    logger.info("Deleted the model %s, which a run that ended left unfinished", model.model_id)


def _upload(
    context: RunContext, registry: Registry, package: Package, model: "LoggedModel"
) -> None:
    storage = Storage(context.storage_uri)
    with storage.workspace() as folder:
        for name, file in package.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(storage.path(file), target)
        _sign(folder, model, context)
        registry.client.log_model_artifacts(model.model_id, str(folder))


def _sign(folder: Path, model: "LoggedModel", context: RunContext) -> None:
    """Writes into the package which run it comes from."""
    from mlflow.models import Model

    package = Model.load(folder)
    package.run_id, package.model_id = context.run_id, model.model_id
    package.artifact_path = model.artifact_location
    package.save(folder / "MLmodel")


def _is_at_work(context: RunContext, model: "LoggedModel") -> bool:
    """Whether another run may still be making a logged model."""
    from mlflow.exceptions import MlflowException

    client = tracking.client(context.mlflow_uri)
    age = time.time() - model.last_updated_timestamp / 1000
    try:
        maker = client.get_run(model.source_run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    own = client.get_run(context.run_id).data.tags
    is_open = maker.info.status == "RUNNING" and age < LEFT_AFTER_SECONDS
    return is_open and processes.is_at_work(maker.data.tags, own)
