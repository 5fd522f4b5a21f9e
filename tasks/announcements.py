"""What happened to a pipeline, told as Prefect events that automations pass on to people.

An event is sent once the fact is true, and never hurts the run that it tells of.
"""

import logging
from collections.abc import Mapping
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.events import emit_event

from tasks.handoffs import RunContext
from tasks.history import CHAMPION, Move
from tasks.judgement import Verdict
from tasks.lineage import prefect_address

RESOURCE = "roundhouse.pipeline"
CHECKS_FAILED = "roundhouse.checks.failed"
CHAMPION_PROMOTED = "roundhouse.champion.promoted"
CHAMPION_ROLLED_BACK = "roundhouse.champion.rolled_back"
GATE_LOST = "roundhouse.gate.lost"
MLFLOW_LABEL = "roundhouse.mlflow"
logger = logging.getLogger(__name__)


def announce_failed_checks(context: RunContext, sentence: str) -> None:
    """Tells that the data checks found failures, so that nothing was trained."""
    _announce(context, CHECKS_FAILED, sentence)


def announce_verdict(
    context: RunContext, version: int, verdict: Verdict, metric: str, metrics: Mapping[str, float]
) -> None:
    """Tells that a version became the champion, or that it lost the gate.

    Args:
        context: The run.
        version: The version.
        verdict: Why.
        metric: Name of the gate's metric.
        metrics: The version's metrics, that one among them.
    """
    _announce(
        context,
        CHAMPION_PROMOTED if verdict.promoted else GATE_LOST,
        f"{context.pipeline} v{version}: {verdict.reason}",
        version=version,
        metric=metric,
        value=metrics.get(metric),
    )


def announce_move(name: str, move: Move, page: str) -> None:
    """Tells that a person made a version the champion; unlike a run, also outside of a flow.

    Args:
        name: The registered model.
        move: What the person did.
        page: Address of the model's page.
    """
    change = move.change(CHAMPION)
    what = f"{change.sentence}, " if change else ""
    _emit(
        name,
        CHAMPION_ROLLED_BACK if move.kind == "rollback" else CHAMPION_PROMOTED,
        f"{name}: {what}{move.sentence}",
        page,
        version=move.version,
        forced=move.forced,
    )


def label_flow_run(context: RunContext) -> None:
    """Notes on the Prefect run where its MLflow run is, for messages about how it ended."""
    if not runtime.flow_run.id:
        return
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run_labels(
                UUID(runtime.flow_run.id), {MLFLOW_LABEL: context.run_page}
            )
    except Exception as error:
        logger.warning("The Prefect run does not say where its MLflow run is: %s", error)


def _announce(context: RunContext, event: str, sentence: str, **figures: object) -> None:
    if runtime.flow_run.id:
        _emit(context.pipeline, event, sentence, context.run_page, **figures)


def _emit(pipeline: str, event: str, sentence: str, page: str, **figures: object) -> None:
    flow_run = {
        "prefect.resource.id": f"prefect.flow-run.{runtime.flow_run.id}",
        "prefect.resource.role": "flow-run",
    }
    try:
        emit_event(
            event,
            resource={
                "prefect.resource.id": f"{RESOURCE}.{pipeline}",
                "prefect.resource.name": pipeline,
            },
            related=[flow_run] if runtime.flow_run.id else [],
            payload={
                "pipeline": pipeline,
                "sentence": sentence,
                "prefect": prefect_address() or "none",
                "mlflow": page,
                **figures,
            },
        )
    except Exception as error:
        # whatever the client raises: that people are not told is no reason to fail
        logger.warning("The event %s could not be sent: %s", event, error)
