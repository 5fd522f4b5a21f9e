"""Prepared data in, a trained network or another estimator out, stored as of its best epoch."""

import json
import os

from tasks import apart, cancelling, devices, nodes, turns
from tasks.boosting import train_boosting
from tasks.config import ModelConfig, TrainingConfig
from tasks.fingerprints import code_digest, environment_digest, values_digest
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import FRESH_WEIGHTS, InitialWeights, TrainedModel
from tasks.models import is_estimator
from tasks.monitor import load_not_logged
from tasks.network_training import class_weights, train_network
from tasks.stages import stage
from tasks.storage import Storage

CODE = (
    "tasks.boosting",
    "tasks.devices",
    "tasks.first_node",
    "tasks.fitting",
    "tasks.models",
    "tasks.network_training",
    "tasks.nodes",
    "tasks.trees",
)


@stage(code=CODE)
def train_model(
    context: RunContext,
    prepared: PreparedData,
    model: ModelConfig,
    training: TrainingConfig,
    initial: InitialWeights = FRESH_WEIGHTS,
) -> TrainedModel:
    """Trains the network; an interrupted training of the same goes on where it stopped.

    Raises:
        ConfigError: The network cannot be built for these data, cannot be trained so, or does not
            fit the version that it is to start from.
        TrainingDiverged: The loss is not a finite number any more.
        StorageError: The disk is full or cannot be written.
    """
    if context.training_job:
        return _trained_apart(context, prepared, model, training, initial)
    if is_estimator(model.architecture):
        weights = class_weights(training.class_weights, prepared.train.label_counts)
        return train_boosting(context, prepared, model, training, weights)
    key = training_key(prepared, model, training, initial)
    node = nodes.node_of_run(os.environ)
    wanted = devices.sees_gpu() if node else _uses_gpu(training)
    with (
        nodes.ended_together(node),
        cancelling.ended_when_cancelled(context),
        turns.gpu_turn(wanted=wanted),
    ):
        if node:
            return nodes.train_together(node, context, prepared, model, training, initial)
        return train_network(context, prepared, model, training, initial, key)


def _uses_gpu(training: TrainingConfig) -> bool:
    return devices.has_accelerator(devices.find_hardware(training.precision))


def _trained_apart(
    context: RunContext,
    prepared: PreparedData,
    model: ModelConfig,
    training: TrainingConfig,
    initial: InitialWeights,
) -> TrainedModel:
    """The network as a run of its own trains it, on another machine."""
    handed = {"prepared": prepared, "model": model, "training": training, "initial": initial}
    known = context.model_dump(
        include={"pipeline", "run_id", "experiment_id", "force", "attempt_of", "isolated"}
    )
    # a run that failed and is tried again logs to another MLflow run, and so must its training
    key = values_digest(training_key(prepared, model, training, initial), context.run_id)
    with load_not_logged():
        content = apart.done_apart(
            key,
            {**known, **{name: value.model_dump(mode="json") for name, value in handed.items()}},
            json.loads(context.training_job),
            Storage(context.storage_uri),
        )
    return TrainedModel.model_validate_json(content)


def training_key(
    prepared: PreparedData, model: ModelConfig, training: TrainingConfig, initial: InitialWeights
) -> str:
    """Of a training: that of the checkpoint of an interrupted one as well."""
    code = code_digest((__name__, *CODE))
    return values_digest(prepared, model, training, initial, code, environment_digest())
