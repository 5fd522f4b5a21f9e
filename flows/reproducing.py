"""The reproducing flow: a registered version made again from its lineage, and compared with it."""

from prefect import flow

from tasks.appraisal import Reproduction
from tasks.ingestion import ingest_data
from tasks.preprocessing import prepare_data
from tasks.reproduction import compare_version
from tasks.reproduction_plan import plan_reproduction, require_same_snapshot
from tasks.settings import load_settings
from tasks.tracking import recorded
from tasks.training import train_model


@flow(name="reproduce", persist_result=False, validate_parameters=True)
def reproduce(model: str) -> Reproduction:
    """Trains a registered version again, from the same rows and seeds, and compares the two.

    Nothing is registered, no alias moves, and no stage's earlier result is recalled or replaced.

    Args:
        model: A version: digits, which is its champion, digits@previous or digits/3.
    """
    plan = plan_reproduction(model, load_settings())
    lineage, config = plan.lineage, plan.config
    with recorded(plan.context) as context:
        if plan.source is not None:
            require_same_snapshot(lineage, ingest_data(context, plan.source, config.ingestion))
        prepared = prepare_data(context, lineage.checks, config.split, config.preparation)
        trained = train_model(context, prepared, config.model, config.training, lineage.initial)
        return compare_version(context, lineage, prepared, trained, plan.cautions)
