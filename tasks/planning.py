"""From a configuration to a run to work in: source files, what changed, an open MLflow run."""

import json
import logging

from prefect import runtime, task
from prefect.context import FlowRunContext

from tasks import clusters, gate, processes, prover, tracking
from tasks.announcements import label_flow_run
from tasks.baselines import require_baseline
from tasks.config import PipelineConfig
from tasks.conversion.forms import require_exportable
from tasks.datasets import get_dataset
from tasks.errors import ConfigError, ServiceError
from tasks.freshness import Standing, find_standing, locate_source
from tasks.handoffs import Handoff, RunContext, Source
from tasks.home import prepare_home
from tasks.lineage import describe_surroundings
from tasks.membership import require_slices
from tasks.models import require_architecture
from tasks.parameters import parameters_of, shown_configuration
from tasks.privacy import require_fitting, treated_columns
from tasks.progress import name_flow_run
from tasks.settings import Settings
from tasks.stages import RETRIES, RETRY_DELAYS_SECONDS, is_last_try, may_be_cured

logger = logging.getLogger(__name__)


class Plan(Handoff):
    """What a run will do.

    Args:
        source: The source files.
        standing: What changed since the last judged version.
        context: The run to work in; None when nothing is to be done.
    """

    source: Source
    standing: Standing
    context: RunContext | None


@task(
    name="plan run",
    task_run_name="plan run",
    retries=RETRIES,
    retry_delay_seconds=list(RETRY_DELAYS_SECONDS),
    retry_condition_fn=may_be_cured,
)
def plan_run(config: PipelineConfig, settings: Settings, *, force: bool = False) -> Plan:
    """Finds the source files, sees what changed, and opens the MLflow run if there is work to do.

    A failure is kept as a failed MLflow run, so that it is seen there as well.

    Raises:
        ConfigError: The worker that started the run knows no MLflow server.
        SourceError: The source files are missing or damaged.
        ServiceError: A service does not answer.
    """
    _require_tracking(settings)
    prepare_home(settings)
    dataset = get_dataset(config.ingestion.dataset)
    gate.require_known(config.gate.metric, dataset.problem)
    require_fitting(dataset)
    columns = treated_columns(dataset.columns)
    clusters.require_column(config, columns)
    require_baseline(config, dataset.problem, columns)
    require_slices(config, dataset.problem, columns)
    require_architecture(config.model.architecture)
    require_exportable(config.export, config.model.architecture)
    tracking.require_answer(settings.mlflow_uri, settings.timeout_seconds)
    artifacts = None if settings.tracking_uri else settings.artifact_root
    experiment_id = tracking.open_experiment(settings.mlflow_uri, config.pipeline, artifacts)
    try:
        source = locate_source(config, settings)
        standing = find_standing(config, source, settings.mlflow_uri)
    except Exception as error:
        if not isinstance(error, ServiceError) or is_last_try():
            run_id = _open_run(config, settings, experiment_id, None)
            tracking.fail_run(settings.mlflow_uri, run_id, error)
        raise
    if standing.up_to_date and not force:
        name_flow_run(f"{config.pipeline}: {standing.reason}")
        logger.info(standing.sentence)
        return Plan(source=source, standing=standing, context=None)
    # its imports take as long as those of all the stages before it is asked
    prover.warm(settings.mlflow_uri)
    run_id = _open_run(config, settings, experiment_id, standing, force=force)
    context = RunContext(
        pipeline=config.pipeline,
        run_id=run_id,
        experiment_id=experiment_id,
        mlflow_uri=settings.mlflow_uri,
        mlflow_pages=settings.mlflow_pages,
        storage_uri=settings.storage_uri,
        force=force,
        attempt_of=_attempt_of(run_id) if force else "",
        training_job=settings.training_job or "",
    )
    label_flow_run(context)
    return Plan(source=source, standing=standing, context=context)


def _attempt_of(run_id: str) -> str:
    """What the attempts of this run have in common: the Prefect run, where a worker tries it again.

    Elsewhere it is the MLflow run, which the next command goes on with if this process is killed.
    """
    return str(runtime.flow_run.id) if runtime.deployment.id else run_id


def _require_tracking(settings: Settings) -> None:
    """Refuses to let a deployed run train into a home of its worker's, where nobody would look."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run and run.deployment_id and not settings.tracking_uri:
        raise ConfigError(
            "ROUNDHOUSE_TRACKING_URI is not set where this run's worker was started; expected the "
            "address of the MLflow server, as a deployed run belongs to a stack. Start the worker "
            "with `roundhouse worker`, or give it PREFECT_API_URL, ROUNDHOUSE_TRACKING_URI, "
            "ROUNDHOUSE_HOME and ROUNDHOUSE_STORAGE."
        )


def _open_run(
    config: PipelineConfig,
    settings: Settings,
    experiment_id: str,
    standing: Standing | None,
    *,
    force: bool = False,
) -> str:
    reason = "could not start" if standing is None else standing.reason
    reason = "forced" if force else reason
    tags = {
        "mlflow.source.name": "flows.training.train",
        processes.PROCESS_TAG: processes.this_process(),
        "roundhouse.why": reason,
        "roundhouse.fingerprint": standing.fingerprint if standing else "",
        "roundhouse.configuration": json.dumps(shown_configuration(config), sort_keys=True),
        **describe_surroundings(),
    }
    name = f"{config.pipeline}: {reason}"
    name_flow_run(name)
    uri = settings.mlflow_uri
    return tracking.open_run(uri, experiment_id, name, parameters_of(config), tags)
