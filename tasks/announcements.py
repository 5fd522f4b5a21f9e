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
from tasks.judgement import Verdict
from tasks.lineage import prefect_address

RESOURCE = "roundhouse.pipeline"
CHECKS_FAILED = "roundhouse.checks.failed"
CHAMPION_PROMOTED = "roundhouse.champion.promoted"
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
    if not runtime.flow_run.id:
        return
    try:
        emit_event(
            event,
            resource={
                "prefect.resource.id": f"{RESOURCE}.{context.pipeline}",
                "prefect.resource.name": context.pipeline,
            },
            related=[
                {
                    "prefect.resource.id": f"prefect.flow-run.{runtime.flow_run.id}",
                    "prefect.resource.role": "flow-run",
                }
            ],
            payload={
                "pipeline": context.pipeline,
                "sentence": sentence,
                "prefect": prefect_address(),
                "mlflow": context.run_page,
                **figures,
            },
        )
    except Exception as error:
        # whatever the client raises: that people are not told is no reason to fail
        logger.warning("The event %s could not be sent: %s", event, error)
