"""What a trained model looks at: columns, pixels and tokens that decide its predictions."""

from tasks.appraisal import Explanation
from tasks.config import ExplanationConfig, GateConfig
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import Evaluation, TrainedModel
from tasks.stages import stage


@stage(code=())
def explain_model(
    context: RunContext,
    prepared: PreparedData,
    trained: TrainedModel,
    evaluation: Evaluation,
    config: ExplanationConfig,
    gate: GateConfig,
) -> Explanation:
    """Explains the model as a whole, its most confident mistakes, and a few other test rows."""
    return Explanation(metric=gate.metric)
