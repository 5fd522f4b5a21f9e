"""The comparing flow: presets of one dataset, trained on the same rows and ranked."""

from collections.abc import Mapping
from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName

from tasks.comparison import attempted, conclude, measure_contender, plan_comparison
from tasks.config import PipelineConfig
from tasks.contenders import Ranking
from tasks.ingestion import ingest_data
from tasks.initialisation import find_initial_weights
from tasks.judgement import FRESH_WEIGHTS
from tasks.packaging import package_model
from tasks.preprocessing import prepare_data
from tasks.presets import chosen_presets
from tasks.settings import load_settings
from tasks.tracking import recorded
from tasks.training import train_model
from tasks.turns import turn
from tasks.validation import check_data

# a server gives no more at once
PAGE = 200


@flow(name="compare", persist_result=False, validate_parameters=True)
def compare(
    pipeline: str, others: tuple[str, ...] = (), presets: tuple[PipelineConfig, ...] = ()
) -> Ranking:
    """Trains several pipelines' models on the same rows and ranks them on the validation rows.

    Nothing is registered, and no alias moves.

    Args:
        pipeline: The pipeline whose data, checks, split and metric all of them get.
        others: The pipelines that it is compared with. Default: all of the same dataset.
        presets: Configurations to compare instead of those of the deployed pipelines.
    """
    settings = load_settings()
    presets = presets or chosen_presets(_deployed(), pipeline, others)
    plan = plan_comparison(presets, settings)
    first, attempts = plan.presets[0], []
    with recorded(plan.context) as context:
        snapshot = ingest_data(context, plan.source, first.ingestion)
        checked = check_data(context, snapshot, first.checks)
        for preset in plan.presets:
            # of two trainings of one pipeline at a time, each would take the other's checkpoint
            with attempted(context, preset) as own, turn(preset.pipeline, "wait", retried=False):
                prepared = prepare_data(own.context, checked, preset.split, preset.preparation)
                model = preset.model
                initial = (
                    find_initial_weights(own.context, prepared, model)
                    if model.initial_weights
                    else FRESH_WEIGHTS
                )
                trained = train_model(own.context, prepared, model, preset.training, initial)
                package = package_model(own.context, prepared, trained)
                own.contender = measure_contender(own.context, prepared, trained, package)
            attempts.append(own)
        return conclude(plan, attempts)


def _deployed() -> dict[str, Mapping[str, Any]]:
    """The parameters of each deployed pipeline, as people may have changed them on the server."""
    with get_client(sync_client=True) as client:
        training = FlowFilter(name=FlowFilterName(any_=["train"]))
        found: list[Any] = []
        while page := client.read_deployments(flow_filter=training, limit=PAGE, offset=len(found)):
            found += page
    return {deployment.name: deployment.parameters for deployment in found}
