"""The lineage of a small run, made by the real stages up to its registration."""

from types import SimpleNamespace

import pytest

from tasks.appraisal import (
    Explanation,
    FairnessGap,
    Importance,
    Slice,
    Slices,
)
from tasks.config import GateConfig, IngestionConfig, PipelineConfig
from tasks.exports import ExportedModel, Exports
from tasks.handoffs import CheckedData, Source
from tasks.judgement import FRESH_WEIGHTS, Difference, Promotion, Proof, Rule, Verdict
from tasks.summary import lineage_of

HELD = Rule(name="minimum", passed=True, value=0.9, bound=0.8, reason="keeps the minimum of 0.8")
LOST = Rule(
    name="not_worse", passed=False, value=0.9, bound=0.97, reason="is worse than champion v7's",
    difference=Difference(
        value=-0.09, low=-0.12, high=-0.06, confidence=0.95, chance=0.001, rows=60
    ),
)  # fmt: skip
SLICES = Slices(
    metric="accuracy",
    table=(
        Slice(column="plan", value="basic", rows=40, metrics={"accuracy": 0.9}, low=0.8, high=0.96),
        Slice(column="plan", value="full", rows=20, metrics={}),
    ),
    gaps=(
        FairnessGap(
            column="plan",
            demographic_parity=0.1,
            intervals={"demographic_parity": (0.05, 0.2)},
            reason="too few rows of a group",
        ),
    ),
)
EXPLAINED = Explanation(
    metric="accuracy", importances=(Importance(column="months", mean=0.3, deviation=0.02),)
)
EXPORTS = Exports(
    metric="accuracy",
    forms=(
        ExportedModel(form="original", size=2_000_000, metrics={"accuracy": 0.9}, kept=True),
        ExportedModel(
            form="litert int8", reason="is refused: it loses 0.05 of accuracy, 0.01 at most"
        ),
    ),
)


@pytest.fixture
def make_lineage(release, train_quickly, context):
    """Makes the lineage of a run on prepared rows; further fields replace its own."""

    def make(prepared, **changed):
        made = release(prepared)
        page = context.storage_uri
        file = prepared.preprocessing
        checked = CheckedData(
            snapshot=prepared.snapshot, passed=8, total=9, warnings=("1 of 9 checks warns",),
            report=file, data_docs=file,
        )  # fmt: skip
        metric = "accuracy" if prepared.classes else "mae"
        config = PipelineConfig(
            pipeline="trial", ingestion=IngestionConfig(dataset="trial"),
            gate=GateConfig(metric=metric),
        )  # fmt: skip
        proof = Proof(
            uri=made.registered.uri, rows=60, largest_difference=2e-7, tolerance=1e-4,
            load_seconds=0.5, predict_seconds=0.1,
            latency_median_ms=1.5, latency_p99_ms=4.0, served_rows=12, memory_bytes=50_000_000,
        )  # fmt: skip
        promotion = Promotion(
            verdict=Verdict(promoted=True, rules=(HELD,), reason="accuracy 0.9; promoted"),
            version=made.registered.version, champion_before=None,
            champion=made.registered.version, champion_metrics={}, compared_rows=0,
        )  # fmt: skip
        handoffs = {
            "source": Source(dataset="trial", location=f"{page}/data", files=(), digest="d"),
            "checks": checked, "prepared": prepared, "initial": FRESH_WEIGHTS,
            "trained": train_quickly(prepared), "evaluation": made.evaluation, "slices": Slices(),
            "package": made.package, "registered": made.registered, "proof": proof,
            "promotion": promotion, "explanation": Explanation(), "exports": Exports(),
        }  # fmt: skip
        return lineage_of(config, **{**handoffs, **changed})

    return make


@pytest.fixture
def told():
    """Made-up hand-offs of the stages that tell what figures do not."""
    return SimpleNamespace(
        held=HELD, lost=LOST, slices=SLICES, explanation=EXPLAINED, exports=EXPORTS
    )
