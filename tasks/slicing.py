"""The model's figures on slices of the test rows, and how alike sensitive groups are treated."""

from tasks.appraisal import Slices
from tasks.config import GateConfig, SliceConfig
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import Evaluation
from tasks.stages import stage


@stage(code=())
def measure_slices(
    context: RunContext,
    prepared: PreparedData,
    evaluation: Evaluation,
    config: SliceConfig,
    gate: GateConfig,
) -> Slices:
    """Slices the test rows by columns, and measures the model in each slice."""
    return Slices(metric=gate.metric, confidence=config.confidence)
