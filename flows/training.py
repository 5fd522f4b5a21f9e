"""The training flow: real data in, a judged and registered model out."""

from typing import Literal

from prefect import flow

from tasks.config import (
    CheckConfig,
    EvaluationConfig,
    ExplanationConfig,
    ExportConfig,
    GateConfig,
    IngestionConfig,
    ModelConfig,
    PipelineConfig,
    PreparationConfig,
    SliceConfig,
    SplitConfig,
    TrainingConfig,
)
from tasks.description import describe_model
from tasks.evaluation import evaluate_model
from tasks.explanation import explain_model
from tasks.exporting import export_model
from tasks.handoffs import RunContext
from tasks.ingestion import ingest_data
from tasks.initialisation import find_initial_weights
from tasks.judgement import FRESH_WEIGHTS
from tasks.packaging import package_model
from tasks.planning import Plan, plan_run
from tasks.preprocessing import prepare_data
from tasks.promotion import promote_model
from tasks.registration import register_model
from tasks.settings import load_settings
from tasks.slicing import measure_slices
from tasks.summary import Summary, lineage_of, summarise_run
from tasks.tracking import recorded
from tasks.training import train_model
from tasks.turns import as_superseded, turn
from tasks.validation import check_data
from tasks.verification import verify_model


@flow(name="train", persist_result=False, validate_parameters=True)
def train(
    pipeline: str,
    ingestion: IngestionConfig,
    checks: CheckConfig = CheckConfig(),
    split: SplitConfig = SplitConfig(),
    preparation: PreparationConfig = PreparationConfig(),
    model: ModelConfig = ModelConfig(),
    training: TrainingConfig = TrainingConfig(),
    evaluation: EvaluationConfig = EvaluationConfig(),
    slices: SliceConfig = SliceConfig(),
    gate: GateConfig = GateConfig(),
    explanation: ExplanationConfig = ExplanationConfig(),
    export: ExportConfig = ExportConfig(),
    force: bool = False,
    overlap: Literal["wait", "supersede"] = "wait",
) -> Summary:
    """Trains a pipeline's model on today's data and promotes it when it has earned it.

    Args:
        pipeline: Name of the pipeline; also of its experiment and its registered model.
        ingestion: Which data, and from where.
        checks: How strict the data checks are.
        split: Which rows train, which validate, which test.
        preparation: How raw columns become the network's inputs.
        model: The network.
        training: The training loop.
        evaluation: What the trained model is measured against.
        slices: By which columns it is measured apart, and who must be treated alike.
        gate: What a model must show before it becomes the champion.
        explanation: What is explained of the model.
        export: Smaller and other forms of the network.
        force: Train again although nothing changed.
        overlap: Whether to wait while another run of the pipeline is at work, or to give up.
    """
    config = PipelineConfig(
        pipeline=pipeline, ingestion=ingestion, checks=checks, split=split, model=model,
        preparation=preparation, training=training, evaluation=evaluation, slices=slices,
        gate=gate, explanation=explanation, export=export,
    )  # fmt: skip
    settings = load_settings()
    with turn(pipeline, overlap, retried=settings.crashed_runs == "retry") as given_up:
        if given_up:
            return as_superseded(given_up, Summary(pipeline=pipeline, up_to_date=given_up))
        plan = plan_run(config, settings, force=force)
        if plan.context is None:
            return Summary(pipeline=pipeline, up_to_date=plan.standing.sentence)
        with recorded(plan.context) as context:
            return run_stages(context, plan, config)


def run_stages(context: RunContext, plan: Plan, config: PipelineConfig) -> Summary:
    """The stages in their order, each given what it needs of those before.

    Args:
        context: The run.
        plan: Gives the source files, and what changed.
        config: What each stage is told.
    """
    snapshot = ingest_data(context, plan.source, config.ingestion)
    checked = check_data(context, snapshot, config.checks)
    prepared = prepare_data(context, checked, config.split, config.preparation)
    initial = (
        find_initial_weights(context, prepared, config.model)
        if config.model.initial_weights
        else FRESH_WEIGHTS
    )
    trained = train_model(context, prepared, config.model, config.training, initial)
    evaluated = evaluate_model(context, prepared, trained, config.evaluation)
    sliced = measure_slices(context, prepared, evaluated, config.slices, config.gate)
    package = package_model(context, prepared, trained)
    registered = register_model(context, package, prepared, evaluated, plan.standing, initial)
    proof = verify_model(context, registered, prepared, evaluated)
    promotion = promote_model(
        context, registered, proof, prepared, evaluated, package, sliced, config.gate
    )
    explained = explain_model(
        context, prepared, trained, evaluated, config.explanation, config.gate
    )
    exported = export_model(
        context, prepared, trained, evaluated, config.training, config.export, config.gate
    )
    lineage = lineage_of(
        config,
        source=plan.source, checks=checked, prepared=prepared, initial=initial, trained=trained,
        evaluation=evaluated, slices=sliced, package=package, registered=registered, proof=proof,
        promotion=promotion, explanation=explained, exports=exported,
    )  # fmt: skip
    card = describe_model(context, lineage)
    return summarise_run(context, lineage, card)
