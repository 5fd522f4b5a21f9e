"""The training stage as a flow of its own, for a machine with a GPU; a training run starts it."""

from prefect import flow

from tasks.config import ModelConfig, TrainingConfig
from tasks.handoffs import PreparedData, RunContext
from tasks.home import prepare_home
from tasks.judgement import FRESH_WEIGHTS, InitialWeights, TrainedModel
from tasks.monitor import load_logged
from tasks.settings import load_settings
from tasks.storage import Storage
from tasks.training import train_model


@flow(
    name="train-apart",
    flow_run_name="{pipeline}: training",
    persist_result=False,
    validate_parameters=True,
)
def train_apart(
    pipeline: str,
    run_id: str,
    experiment_id: str,
    record: str,
    prepared: PreparedData,
    model: ModelConfig,
    training: TrainingConfig,
    initial: InitialWeights = FRESH_WEIGHTS,
    force: bool = False,
    attempt_of: str = "",
    isolated: bool = False,
) -> TrainedModel:
    """Trains for a run that is at work elsewhere; that run starts it, and nobody by hand.

    Args:
        pipeline: Name of the pipeline.
        run_id: Id of the MLflow run to log to, which stays that run's.
        experiment_id: Id of its experiment.
        record: Name of the record in the storage that the trained model is left under.
        prepared: The rows, by their addresses in the storage.
        model: The network.
        training: The training loop.
        initial: What the network starts from.
        force: Train again although nothing changed.
        attempt_of: What the attempts of a forced run have in common.
        isolated: Recall no earlier training, and leave none to be recalled.
    """
    settings = load_settings()
    prepare_home(settings)
    # addresses are not sent along: they may hold a password, and each machine has its own
    context = RunContext(
        pipeline=pipeline,
        run_id=run_id,
        experiment_id=experiment_id,
        mlflow_uri=settings.mlflow_uri,
        mlflow_pages=settings.mlflow_pages,
        storage_uri=settings.storage_uri,
        force=force,
        attempt_of=attempt_of,
        isolated=isolated,
    )
    with load_logged(context):
        trained = train_model(context, prepared, model, training, initial)
    Storage(context.storage_uri).write_record(record, trained.model_dump_json())
    return trained
