"""The loop itself: Keras's `model.fit`, phase by phase, and what happens between its epochs."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tasks.fitting import parallel, processes
from tasks.fitting.augmentation import augmented
from tasks.fitting.checkpoints import Checkpoint, Progress
from tasks.fitting.feeding import DATA_WAIT_SHARE, Feed, fed, in_order, share
from tasks.fitting.objectives import labels_and_weights, objective
from tasks.fitting.phases import (
    Phase,
    optimizer_of,
    phase_after,
    set_trained_layers,
    trained_layers_kept,
)
from tasks.fitting.settings import FitResult, FitSettings

# larger than a training batch, as validation keeps no gradients; a bound on its memory, by the
# largest output of a layer
VALIDATION_BATCH_ROWS = 1024
VALIDATION_BATCH_VALUES = 2**24
logger = logging.getLogger(__name__)
Side = tuple[np.ndarray, np.ndarray]
OnEpoch = Callable[[int, dict[str, float]], None]


class DivergedError(ArithmeticError):
    """A loss that is not a finite number any more."""


def fit(
    network: keras.Model,
    train: Side,
    validation: Side,
    settings: FitSettings,
    *,
    checkpoint: Checkpoint | None = None,
    on_epoch: OnEpoch | None = None,
) -> FitResult:
    """Trains a network, which has the best epoch's weights at the end.

    A training that goes on from a checkpoint has the same weights, optimizer, dropout and
    early-stopping state as one that was never interrupted, but another order of the rows from there
    on (it is shuffled by `seed` plus the epochs done), so its result is close, not equal.

    Args:
        network: A built model with one input and one output; float32 softmax [rows, classes] or
            [rows, length, classes], or linear [rows, 1].
        train: Inputs [rows, ...] and labels: class indices (int) [rows], or [rows, length] with -1
            where nothing is predicted; or targets (float) [rows]. They may be memory-mapped.
        validation: The same for the rows that decide which epoch is the best.
        settings: How to train.
        checkpoint: Where the state is kept after each epoch; None keeps none.
        on_epoch: Called after each epoch with its number, from 1, its metrics, and among them
            `data_wait_share`: the share of its steps' time that was spent waiting for rows.

    Raises:
        BackboneError: The network has no such layers to freeze or to fine-tune.
        DivergedError: A loss is not finite.
        OSError: The checkpoint cannot be written.
    """
    started = time.perf_counter()
    training = _Training(network, train, validation, settings, on_epoch)
    with trained_layers_kept(network), parallel.joint_statistics(network):
        progress = training.run(checkpoint)
    network.set_weights(progress.best_weights)
    seconds = time.perf_counter() - started
    epochs = progress.epochs - training.resumed_from
    return FitResult(
        history={name: tuple(values) for name, values in progress.history.items()},
        best_epoch=progress.best_epoch,
        resumed_from=training.resumed_from,
        seconds=seconds,
        rows_per_second=len(train[1]) * epochs / seconds,
        data_wait_share=share(training.waited, training.stepped),
    )


class _Training:
    """A network, its rows, and how to train it."""

    def __init__(
        self,
        network: keras.Model,
        train: Side,
        validation: Side,
        settings: FitSettings,
        on_epoch: OnEpoch | None,
    ) -> None:
        classes = network.outputs[0].shape[-1]
        self.network = network
        self.model = augmented(network, settings)
        self.settings = settings
        self.on_epoch = on_epoch
        self.resumed_from = 0
        # seconds of all epochs, validation apart: those that it waited for rows, and all
        self.waited = self.stepped = 0.0
        self._inputs, self._validation_inputs = train[0], validation[0]
        self._labels, self._weights = labels_and_weights(train[1], classes, settings)
        self._validation = labels_and_weights(validation[1], classes, settings)

    def run(self, checkpoint: Checkpoint | None) -> Progress:
        """Trains from where the checkpoint is, if there is one, to the end."""
        saved = checkpoint.load() if checkpoint else None
        progress = saved[1] if saved else Progress()
        processes.require_same(progress.epochs)
        self._begin(phase_after(progress.epochs, self.settings))
        if saved and not self._restored(saved[0], progress):
            logger.warning("The checkpoint is of another network; training starts anew")
            progress = Progress()
            self._begin(phase_after(0, self.settings))
        self.resumed_from = progress.epochs
        while not progress.is_over(self.settings):
            phase = phase_after(progress.epochs, self.settings)
            if phase.start == progress.epochs > self.resumed_from:
                self._begin(phase)
            keras.utils.set_random_seed((self.settings.seed + progress.epochs) % 2**32)
            self._fit_phase(phase, progress, checkpoint)
        return progress

    def _begin(self, phase: Phase) -> None:
        """Makes the model ready for a phase, with an optimizer that has seen nothing."""
        set_trained_layers(self.network, phase, self.settings)
        steps = math.ceil(len(self._labels) / self.settings.batch_size)
        self.model.compile(
            optimizer=optimizer_of(self.model, phase, self.settings, steps),
            # TensorFlow cannot build a loop of steps over replicas
            steps_per_execution=1 if parallel.replicas() > 1 else self.settings.steps_per_execution,
            jit_compile=self.settings.jit_compile,
            **objective(self.settings),
        )

    def _fit_phase(self, phase: Phase, progress: Progress, checkpoint: Checkpoint | None) -> None:
        rows = (self._inputs, self._labels, self._weights)
        size = _validation_batch_size(self.network, self.settings)
        size = parallel.even(size, len(self._validation[0]))
        per_token = self.settings.is_sequence
        with fed(rows, self.settings.batch_size, self.settings.seed, per_token=per_token) as feed:
            self.model.fit(
                feed.batches,
                **in_order((self._validation_inputs, *self._validation), size, per_token=per_token),
                shuffle=False,
                epochs=phase.end,
                initial_epoch=progress.epochs,
                callbacks=[_EachEpoch(self, progress, checkpoint, feed)],
                verbose=0,
            )

    def state(self) -> list[Any]:
        """Every variable that training changes: weights, random state, the optimizer's."""
        return [*self.model.variables, *self.model.optimizer.variables]

    def _restored(self, values: list[np.ndarray], progress: Progress) -> bool:
        """Puts a saved state into the model; whether it fits it."""
        variables = self.state()
        if progress.epochs == phase_after(progress.epochs, self.settings).start:
            # saved at the end of a phase: the optimizer of the next has seen nothing yet
            variables = self.model.variables
            values = values[: len(variables)]
        if [value.shape for value in values] != [tuple(each.shape) for each in variables]:
            return False
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return True


class _EachEpoch(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """What happens once per epoch: judge, remember, save, report, stop."""

    def __init__(
        self, training: _Training, progress: Progress, checkpoint: Checkpoint | None, feed: Feed
    ) -> None:
        super().__init__()
        self._training = training
        self._progress = progress
        self._checkpoint = checkpoint
        self._feed = feed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._feed.begin(epoch)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        # a GPU may still work off its queue, which a weight is the end of
        keras.ops.convert_to_numpy(self.model.trainable_variables[-1])
        self._feed.end()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        training, progress = self._training, self._progress
        found = {name: float(value) for name, value in (logs or {}).items()}
        metrics = processes.as_by_first(found)
        for name in ("loss", "val_loss"):
            if not math.isfinite(metrics[name]):
                raise DivergedError(f"{name} is {metrics[name]} after epoch {epoch + 1}")
        for name, value in metrics.items():
            progress.history.setdefault(name, []).append(value)
        if progress.best_epoch == epoch + 1:
            progress.best_weights = training.network.get_weights()
        if self._checkpoint and processes.is_first():
            values = [keras.ops.convert_to_numpy(variable) for variable in training.state()]
            self._checkpoint.save(values, progress)
        waited, seconds = self._feed.seconds()
        training.waited += waited
        training.stepped += seconds
        if training.on_epoch:
            training.on_epoch(epoch + 1, metrics | {DATA_WAIT_SHARE: share(waited, seconds)})
        self.model.stop_training = progress.is_over(training.settings)


def _validation_batch_size(network: keras.Model, settings: FitSettings) -> int:
    outputs = keras.tree.flatten([layer.output for layer in network.layers])
    largest: int = max(math.prod(size or 1 for size in output.shape[1:]) for output in outputs)
    fitting_rows = VALIDATION_BATCH_VALUES // largest
    return max(settings.batch_size, min(VALIDATION_BATCH_ROWS, fitting_rows))
