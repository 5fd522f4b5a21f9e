"""A package as a version in the model registry; registered once, however often it is asked for."""

import json
import logging
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
from tasks.logged_models import conclude, discard, log_metrics, log_package, settle_left_open
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

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

NETWORK_FILE = Path("artifacts/network")
# what makes a version the one it is
IDENTITY = (FINGERPRINT, NETWORK)
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


@stage(code=("tasks.logged_models", "tasks.registry"), reuse=False)
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
    identity = {key: tags[key] for key in IDENTITY}
    with registry.lock(), service_errors(context.mlflow_uri):
        begun = settle_left_open(context, registry, identity)
        number = registry.find(identity)
        if number is None:
            model = log_package(context, registry, package, identity, begun)
            log_metrics(context, registry, model, evaluation)
            card = version_card(context, prepared, evaluation, initial)
            _describe_model(registry, prepared.snapshot.dataset)
            number = _create_version(context, registry, model, tags, card)
            number = conclude(context, registry, model, number, identity)
        elif begun:
            discard(context, registry, begun)
    return RegisteredModel(
        name=registry.name,
        version=number,
        uri=registry.address(number),
        fingerprint=standing.fingerprint,
    )


def _describe_model(registry: Registry, dataset: str) -> None:
    """Makes the registered model if there is none; what people wrote about one that is there stays.

    Args:
        registry: Knows its name.
        dataset: What it is trained on.
    """
    from mlflow.exceptions import MlflowException

    card = model_card(registry.name, dataset)
    try:
        registry.client.create_registered_model(registry.name, description=card)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        # on a server the lock made it, which knows nothing of it
        if not registry.client.get_registered_model(registry.name).description:
            registry.describe_model(card)


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
    return int(version.version)
