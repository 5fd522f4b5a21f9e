"""From the address of a version to a run that makes it again: its lineage, and what has changed."""

import logging

from tasks import tracking
from tasks.appraisal import Lineage
from tasks.config import PipelineConfig
from tasks.errors import DataError
from tasks.freshness import locate_source
from tasks.handoffs import Handoff, RunContext, Snapshot, Source
from tasks.home import prepare_home
from tasks.lineage import describe_surroundings
from tasks.parameters import parameters_of
from tasks.processes import PROCESS_TAG, this_process
from tasks.progress import name_flow_run
from tasks.recorded_lineage import recorded_lineage
from tasks.registry import Registry
from tasks.repeatability import cautions_about, configuration_of
from tasks.settings import Settings
from tasks.storage import Storage
from tasks.versions import locate_version

logger = logging.getLogger(__name__)


class ReproductionPlan(Handoff):
    """What a reproduction will do.

    Args:
        lineage: How the version came to be.
        config: Its configuration, with the precision that `auto` stood for.
        source: The source files, where the snapshot is gone; else None.
        cautions: What is not as it was then, as sentences.
        context: The run to work in.
    """

    lineage: Lineage
    config: PipelineConfig
    source: Source | None
    cautions: tuple[str, ...]
    context: RunContext


def plan_reproduction(address: str, settings: Settings) -> ReproductionPlan:
    """Finds a version's lineage, sees what is not as it was then, and opens the run.

    Args:
        address: `digits`, `digits@previous` or `digits/3`.
        settings: Places and addresses.

    Raises:
        ConfigError: There is no such version, or its lineage is incomplete or of another release.
        SourceError: The snapshot is gone, and so are the source files.
        ServiceError: A service does not answer.
    """
    prepare_home(settings)
    place, number = locate_version(address, settings)
    place = place.model_copy(update={"isolated": True})
    registry, storage = Registry(place), Storage(settings.storage_uri)
    lineage = recorded_lineage(registry, number, settings.mlflow_uri, storage)
    config = configuration_of(lineage)
    cautions = cautions_about(registry, lineage, config)
    for caution in cautions:
        logger.warning(caution)
    is_there = storage.can_read(lineage.checks.snapshot.file)
    return ReproductionPlan(
        lineage=lineage,
        config=config,
        source=None if is_there else locate_source(config, settings),
        cautions=cautions,
        context=place.model_copy(update=_open_run(settings, registry, number, config)),
    )


def _open_run(
    settings: Settings, registry: Registry, number: int, config: PipelineConfig
) -> dict[str, str]:
    """Opens a run, shown below the one that made the version; its id and its experiment's."""
    maker = registry.version(number).run_id
    artifacts = None if settings.tracking_uri else settings.artifact_root
    experiment_id = tracking.open_experiment(settings.mlflow_uri, registry.name, artifacts)
    title = f"{registry.name}: v{number} again"
    tags = {
        "mlflow.source.name": "flows.reproducing.reproduce",
        PROCESS_TAG: this_process(),
        tracking.PARENT_TAG: str(maker),
        # not that of the version, whose interrupted run would be taken for this one
        tracking.FINGERPRINT_TAG: registry.address(number),
        tracking.REPRODUCES_TAG: registry.address(number),
        **describe_surroundings(),
    }
    name_flow_run(title)
    run_id = tracking.open_run(
        settings.mlflow_uri, experiment_id, title, parameters_of(config), tags
    )
    return {"run_id": run_id, "experiment_id": experiment_id}


def require_same_snapshot(lineage: Lineage, found: Snapshot) -> None:
    """Refuses rows that are not those of then.

    Raises:
        DataError: The source gives another snapshot today.
    """
    then, version = lineage.checks.snapshot.file.sha256, lineage.registered
    if found.file.sha256 != then:
        raise DataError(
            f"The snapshot that v{version.version} of {version.name} was trained on is gone from "
            f"the storage, and its source gives another one today: sha256 {found.file.sha256}, "
            f"expected {then}. Bring back the source files of then (digest "
            f"{lineage.source.digest}), or the storage with the snapshot."
        )
