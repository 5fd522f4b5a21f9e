"""A package as a version in the model registry; registered once, however often it is asked for."""

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.cards import model_card, version_card
from tasks.freshness import Standing
from tasks.handoffs import PreparedData, RunContext, StoredFile
from tasks.judgement import (
    FRESH_WEIGHTS,
    Evaluation,
    InitialWeights,
    Package,
    RegisteredModel,
)
from tasks.registry import (
    DATASET,
    FINGERPRINT,
    INITIAL,
    METRICS,
    NETWORK,
    PART_DIGEST,
    SNAPSHOT,
    SPLIT,
    Registry,
)
from tasks.services import service_errors
from tasks.stages import stage
from tasks.storage import Storage

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

NETWORK_FILE = Path("artifacts/network")
logger = logging.getLogger(__name__)


def version_tags(
    package: Package, prepared: PreparedData, evaluation: Evaluation, standing: Standing
) -> dict[str, str]:
    """What a version says of itself, above all how other versions may be compared with it.

    Args:
        package: Its files.
        prepared: Gives the split and the snapshot.
        evaluation: Gives the metrics.
        standing: The digests of data, configuration, code and environment.
    """
    return {
        FINGERPRINT: standing.fingerprint,
        NETWORK: network_file(package).sha256,
        DATASET: prepared.snapshot.dataset,
        SNAPSHOT: prepared.snapshot.file.sha256,
        SPLIT: json.dumps(prepared.split, sort_keys=True),
        METRICS: json.dumps(evaluation.metrics, sort_keys=True),
        **{PART_DIGEST.format(name): digest for name, digest in standing.parts.items()},
    }


def network_file(package: Package) -> StoredFile:
    """The network in a package, in whatever form it is stored."""
    (found,) = (
        file for name, file in package.files.items() if Path(name).with_suffix("") == NETWORK_FILE
    )
    return found


@stage(code=("tasks.registry",), reuse=False)
def register_model(
    context: RunContext,
    package: Package,
    prepared: PreparedData,
    evaluation: Evaluation,
    standing: Standing,
    initial: InitialWeights = FRESH_WEIGHTS,
) -> RegisteredModel:
    """Registers the package as a new version, unless a version is this very model already.

    The version is made last, when all of its files are there, so none is ever seen half-written.
    """
    registry = Registry(context)
    tags = version_tags(package, prepared, evaluation, standing)
    if initial.address:
        tags[INITIAL] = initial.sentence
    with registry.lock(), service_errors(context.mlflow_uri):
        number = registry.find({key: tags[key] for key in (FINGERPRINT, NETWORK)})
        if number is None:
            model = _log_package(context, registry, package)
            _log_metrics(context, registry, model, evaluation)
            card = version_card(context, prepared, evaluation, initial)
            _describe_model(registry, prepared.snapshot.dataset)
            number = _create_version(context, registry, model, tags, card)
    return RegisteredModel(
        name=registry.name,
        version=number,
        uri=registry.address(number),
        fingerprint=standing.fingerprint,
    )


def _log_package(context: RunContext, registry: Registry, package: Package) -> "LoggedModel":
    """The package as a model of the run; a failure leaves one that is marked as failed."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    client, storage = registry.client, Storage(context.storage_uri)
    model = client.create_logged_model(context.experiment_id, registry.name, context.run_id)
    status = LoggedModelStatus.FAILED
    try:
        with storage.workspace() as folder:
            for name, file in package.files.items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(storage.path(file), target)
            _sign(folder, model, context)
            client.log_model_artifacts(model.model_id, str(folder))
        status = LoggedModelStatus.READY
    finally:
        finished = client.finalize_logged_model(model.model_id, status)
    client.log_outputs(context.run_id, [LoggedModelOutput(model.model_id, step=0)])
    return finished


def _sign(folder: Path, model: "LoggedModel", context: RunContext) -> None:
    """Writes into the package which run it comes from."""
    from mlflow.models import Model

    package = Model.load(folder)
    package.run_id, package.model_id = context.run_id, model.model_id
    package.artifact_path = model.artifact_location
    package.save(folder / "MLmodel")


def _log_metrics(
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


def _describe_model(registry: Registry, dataset: str) -> None:
    """Makes the registered model if there is none; what people wrote about one that is there stays.

    Args:
        registry: Knows its name.
        dataset: What it is trained on.
    """
    from mlflow.exceptions import MlflowException

    try:
        registry.client.create_registered_model(
            registry.name, description=model_card(registry.name, dataset)
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _create_version(
    context: RunContext,
    registry: Registry,
    model: "LoggedModel",
    tags: dict[str, str],
    card: str,
) -> int:
    client = registry.client
    # by its place: a source models:/<id> is looked up at MLflow's global tracking address
    version = client.create_model_version(
        registry.name,
        source=model.artifact_location,
        run_id=context.run_id,
        tags=tags,
        description=card,
        model_id=model.model_id,
    )
    link = [{"name": registry.name, "version": int(version.version)}]
    client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": json.dumps(link)})
    return int(version.version)
