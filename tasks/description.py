"""The model card of a version: from the lineage of its run to a page, a text, and what it shows."""

import logging

from tasks.appraisal import Lineage, ModelCard
from tasks.cards import described_card
from tasks.handoffs import RunContext
from tasks.metrics import MAIN
from tasks.model_card.contents import card_of
from tasks.model_card.html import as_page
from tasks.model_card.intervals import metric_intervals
from tasks.model_card.markdown import whole_card
from tasks.model_card.measured import (
    Measured,
    Movement,
    class_figures,
    movement_since,
    period_of,
)
from tasks.registry import Registry
from tasks.stages import stage
from tasks.storage import Storage

LINEAGE = "lineage.json"
logger = logging.getLogger(__name__)


@stage(
    code=(
        "tasks.clusters",
        "tasks.columns",
        "tasks.datasets",
        "tasks.metrics",
        "tasks.model_card",
        "tasks.outputs",
        "tasks.registry",
        "tasks.resampling",
        "tasks.rescoring",
        "tasks.rules",
        "tasks.sequence_metrics",
        "tasks.significance",
        "tasks.snapshots",
        "tasks.tallies",
    ),
    reuse=False,
)
def describe_model(context: RunContext, lineage: Lineage) -> ModelCard:
    """Makes the card from what the run measured; it is kept with the run and on the version's page.

    What the page of the version says of its verdict stays, as it may be judged or moved meanwhile.
    """
    storage, registry = Storage(context.storage_uri), Registry(context)
    prepared, evaluation = lineage.prepared, lineage.evaluation
    gate = lineage.configuration.get("gate")
    clusters = gate.get("clusters") if isinstance(gate, dict) else None
    measured = Measured(
        intervals=metric_intervals(storage, prepared, evaluation, MAIN, clusters),
        classes=class_figures(storage, prepared, evaluation),
        period=period_of(storage, prepared.snapshot),
        movement=_movement(registry, storage, lineage),
    )
    card = card_of(context, lineage, measured)
    version, verdict = lineage.registered.version, lineage.promotion.verdict
    with registry.lock():
        said = registry.version(version).description or ""
        registry.describe(version, described_card(said, verdict, card))
    return ModelCard(
        html=storage.put_bytes(as_page(card, storage).encode(), ".html"),
        markdown=storage.put_bytes(whole_card(card).encode(), ".md"),
    )


def _movement(registry: Registry, storage: Storage, lineage: Lineage) -> Movement | None:
    """How the data moved since the champion before; None where there is none, or no lineage."""
    before = lineage.promotion.champion_before
    if before is None or before == lineage.registered.version:
        return None
    content = registry.file_of_run(before, LINEAGE)
    try:
        theirs = Lineage.model_validate_json(content) if content else None
    except ValueError:
        logger.warning("The lineage of v%d cannot be read any more; drift is not measured", before)
        return None
    snapshot = lineage.prepared.snapshot
    return movement_since(storage, snapshot, before, theirs.prepared.snapshot) if theirs else None
