"""The trained network in smaller and other forms, each measured against the original."""

from tasks.appraisal import Exports
from tasks.config import ExportConfig, GateConfig, TrainingConfig
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import Evaluation, TrainedModel
from tasks.stages import stage


@stage(code=())
def export_model(
    context: RunContext,
    prepared: PreparedData,
    trained: TrainedModel,
    evaluation: Evaluation,
    training: TrainingConfig,
    config: ExportConfig,
    gate: GateConfig,
) -> Exports:
    """Makes the forms that are asked for, and keeps those that lose no more than is allowed."""
    return Exports(metric=gate.metric)
