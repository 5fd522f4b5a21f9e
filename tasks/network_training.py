"""How a network is trained: the loop's settings, its checkpoint, and the stored result."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks import devices, energy
from tasks.config import ModelConfig, TrainingConfig
from tasks.errors import ConfigError, TrainingDiverged
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import Hardware, InitialWeights, TrainedModel
from tasks.models import build_model, libraries_needed
from tasks.models.archive import save_network, summary_of
from tasks.models.initial import start_from
from tasks.progress import EpochReport
from tasks.storage import Storage
from tasks.stores import disk_errors

if TYPE_CHECKING:
    import keras

    from tasks.fitting import Checkpoint, FitResult, FitSettings

# fields that mean something for one problem only, or for one kind of rows
FOR_PROBLEM = {
    "class_weights": "classification",
    "labels": "classification",
    "label_smoothing": "classification",
    "loss": "regression",
}
FOR_IMAGES = ("shift", "rotation", "zoom")
logger = logging.getLogger(__name__)


def class_weights(kind: str, label_counts: tuple[int, ...]) -> tuple[float, ...] | None:
    """Weight of each class in the loss, or None where every row weighs the same.

    'balanced' is rows / (classes * rows of the class), as in scikit-learn's
    `compute_class_weight`; a class without rows gets 1.
    """
    if kind == "none" or not label_counts:
        return None
    share = sum(label_counts) / len(label_counts)
    return tuple(share / count if count else 1.0 for count in label_counts)


def require_meaning(prepared: PreparedData, training: TrainingConfig) -> None:
    """Refuses settings of the loop that mean nothing for these rows.

    Raises:
        ConfigError: There are such settings, other than by their defaults.
    """
    problem, kind = prepared.snapshot.problem, prepared.kind
    meaningless = {name: given for name, given in FOR_PROBLEM.items() if given != problem}
    if kind != "image":
        meaningless |= dict.fromkeys(FOR_IMAGES, "images")
    defaults = TrainingConfig()
    for name, wanted in meaningless.items():
        value = getattr(training, name)
        if value != getattr(defaults, name):
            raise ConfigError(
                f"The setting training.{name} is {value!r}, and means something for {wanted} only; "
                f"the dataset {prepared.snapshot.dataset} is for {problem}, of rows of kind "
                f"{kind!r}. Leave training.{name} out."
            )


def fit_settings(
    prepared: PreparedData,
    training: TrainingConfig,
    hardware: Hardware,
    *,
    starts_trained: bool = False,
) -> "FitSettings":
    """The settings of the training loop: those of the user, and those the hardware decides.

    Args:
        prepared: The rows.
        training: What the user asks for.
        hardware: What it runs on.
        starts_trained: Whether the network starts from a registered version.
    """
    from tasks.fitting import FitSettings

    decided = {"precision", "deterministic", "class_weights"}
    return FitSettings(
        problem=prepared.snapshot.problem,
        **training.model_dump(exclude=decided),
        starts_trained=starts_trained,
        class_weights=class_weights(training.class_weights, prepared.train.label_counts),
        steps_per_execution=devices.steps_per_execution(prepared.train.count, training.batch_size),
        jit_compile=devices.jit_compile(hardware),
    )


def train_network(
    context: RunContext,
    prepared: PreparedData,
    model: ModelConfig,
    training: TrainingConfig,
    initial: InitialWeights,
    key: str,
) -> TrainedModel:
    """Trains a network and stores it; an interrupted training of the same key goes on.

    Args:
        context: The run.
        prepared: The rows.
        model: The network.
        training: The loop.
        initial: What the network starts from.
        key: Digest of all that the training depends on.

    Raises:
        ConfigError: The network cannot be built for these data, cannot be trained so, or does not
            fit what it is to start from.
        TrainingDiverged: The loss is not a finite number any more.
        StorageError: The disk is full or cannot be written.
    """
    require_meaning(prepared, training)
    storage, hardware = Storage(context.storage_uri), devices.find_hardware(training.precision)
    with (
        _spread(training) as count,
        _checkpoint(context, storage, key) as checkpoint,
        devices.repeatable(training.seed, deterministic=training.deterministic),
        storage.workspace() as folder,
    ):
        hardware = devices.used(hardware, count)
        settings = fit_settings(
            prepared, training, hardware, starts_trained=initial.network is not None
        )
        with devices.precision_policy(hardware.precision):
            network = build_model(model, prepared, _target_scale(storage, prepared))
        if initial.network:
            path = storage.path(initial.network)
            start_from(network, path, model.initial_part, initial.sentence)
        with energy.metered(with_gpus=devices.has_accelerator(hardware)) as meter:
            result = fit_network(context, network, prepared, settings, checkpoint)
        # by every process of a training over several: reading what they share takes all of them
        save_network(network, folder / "network.keras")
        stored = storage.put_file(folder / "network.keras")
        summary = storage.put_bytes(summary_of(network).encode(), ".txt")
    return TrainedModel(
        network=stored,
        parameters=network.count_params(),
        history=result.history,
        best_epoch=result.best_epoch,
        resumed_from=result.resumed_from,
        seconds=result.seconds,
        rows_per_second=result.rows_per_second,
        seed=training.seed,
        hardware=hardware,
        summary=summary,
        libraries=libraries_needed(model.architecture),
        initial=initial,
        consumption=meter.consumption(),
        data_wait_share=result.data_wait_share,
    )


def fit_network(
    context: RunContext,
    network: "keras.Model",
    prepared: PreparedData,
    settings: "FitSettings",
    checkpoint: "Checkpoint | None",
) -> "FitResult":
    """Fits a network to the training rows; each epoch is logged and told to the run.

    Raises:
        ConfigError: The network has no backbone as the settings ask for.
        TrainingDiverged: The loss is not a finite number any more.
    """
    from tasks import fitting

    storage, report = Storage(context.storage_uri), EpochReport(context, settings.epochs)
    try:
        result = fitting.fit(
            network,
            storage.inputs_and_labels(prepared.train),
            storage.inputs_and_labels(prepared.validation),
            settings,
            checkpoint=checkpoint,
            on_epoch=report if fitting.is_first() else None,
        )
    except fitting.BackboneError as error:
        raise ConfigError(
            "The settings training.frozen_epochs and training.fine_tuned_layers are for networks "
            f"with a backbone, or that start from a registered version; {error}. Leave them out, "
            "or name layers that are there."
        ) from error
    except fitting.DivergedError as error:
        raise TrainingDiverged(
            f"Training was stopped: {error}; a finite number was expected. Lower the learning rate "
            f"of {settings.learning_rate:g}, for example "
            f"--set training.learning_rate={settings.learning_rate / 10:g}, and if that does not "
            "help, look for extreme values in the data."
        ) from error
    if fitting.is_first():
        report.catch_up(result.history, result.resumed_from)
        report.finish(result.best_epoch)
    return result


@contextlib.contextmanager
def _spread(training: TrainingConfig) -> Iterator[int]:
    """While it lasts, networks are trained on all devices; yields how many these are."""
    from tasks import fitting

    try:
        with fitting.spread(training.batch_size) as count:
            yield count
    except fitting.IndivisibleBatchError as error:
        raise ConfigError(
            f"The setting training.batch_size is {training.batch_size}, and {error}; expected a "
            "multiple of their number, over all machines."
        ) from error


@contextlib.contextmanager
def _checkpoint(context: RunContext, storage: Storage, key: str) -> "Iterator[Checkpoint | None]":
    """The training's checkpoint; it outlives an interruption, not success nor divergence.

    An isolated run has none: the one of that key belongs to the training that it repeats. That of a
    forced run is of a name that its own attempts alone know.
    """
    from tasks.fitting import Checkpoint, is_first, wait_for_all

    if context.isolated:
        yield None
        return
    usual = f"checkpoints/{key}.npz"
    name = f"checkpoints/{key}-{context.attempt_of}.npz" if context.attempt_of else usual
    if not is_first():
        # the first process sends and deletes it; the others only look where to go on, and after it
        wait_for_all()
        yield Checkpoint(storage.named_path(name))
        return
    path = storage.named_path(name)
    if context.force:
        storage.delete_named(usual, storage.named_path(usual))
    wait_for_all()
    try:
        with disk_errors(storage.uri):
            yield Checkpoint(path, lambda: _publish(storage, name, path))
    except TrainingDiverged:
        storage.delete_named(name, path)
        raise
    storage.delete_named(name, path)


def _publish(storage: Storage, name: str, path: Path) -> None:
    try:
        storage.publish_named(name, path)
    except Exception as error:
        # whatever a store's client raises: hours of training are worth more than one checkpoint
        logger.warning(
            "The checkpoint of this epoch could not be sent to %s: %s", storage.uri, error
        )


def _target_scale(storage: Storage, prepared: PreparedData) -> tuple[float, float]:
    """Mean and standard deviation of the training targets; 0 and 1 for classes."""
    if prepared.snapshot.problem != "regression":
        return 0.0, 1.0
    targets = storage.array(prepared.train.labels)
    # constant targets have no deviation; any scale predicts them
    return float(targets.mean(dtype=np.float64)), float(targets.std(dtype=np.float64)) or 1.0
