"""The training loop: a Keras model and arrays in, the best epoch's weights and the history out.

Imports Keras, NumPy and the standard library only, so that this file alone can be carried to a
machine that has nothing else of ours. The loop is Keras's own `model.fit`; what is added happens
once per epoch.
"""

import json
import logging
import math
import os
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

# larger than a training batch, as validation keeps no gradients; a bound on its memory
VALIDATION_BATCH_ROWS = 1024
VALIDATION_BATCH_VALUES = 2**22
logger = logging.getLogger(__name__)


class DivergedError(ArithmeticError):
    """A loss that is not a finite number any more."""


@dataclass(frozen=True)
class FitSettings:
    """How to train.

    Args:
        problem: Classification (cross-entropy on class indices) or regression (squared error).
        epochs: Passes over the training rows.
        batch_size: Rows per step.
        learning_rate: Step size of Adam.
        patience: Epochs without a better validation loss before training stops; 0 never stops.
        class_weights: Weight of each class, by its index, in training and in validation loss;
            None weighs every row the same.
        seed: Seed of shuffling; the caller seeds the model's weights and dropout as it builds it.
        steps_per_execution: Steps that Keras runs before it comes back to Python.
        jit_compile: Whether XLA compiles the step; 'auto' leaves it to Keras.
    """

    problem: Literal["classification", "regression", "token_classification", "text_generation"]
    epochs: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    patience: int = 0
    class_weights: tuple[float, ...] | None = None
    seed: int = 0
    steps_per_execution: int = 1
    jit_compile: bool | Literal["auto"] = False


@dataclass(frozen=True)
class FitResult:
    """What training came to.

    Args:
        history: Per metric, its value after each epoch, those before an interruption included.
        best_epoch: The epoch with the lowest validation loss, counted from 1.
        resumed_from: Epochs that an interrupted training had already done.
        seconds: Time in the loop, by this process.
        rows_per_second: Training rows per second of it.
    """

    history: dict[str, tuple[float, ...]]
    best_epoch: int
    resumed_from: int
    seconds: float
    rows_per_second: float


@dataclass
class Progress:
    """How far training has come: all that early stopping needs to know."""

    history: dict[str, list[float]] = field(default_factory=dict)
    best_weights: list[np.ndarray] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return len(self.history.get("val_loss", ()))

    @property
    def best_epoch(self) -> int:
        """The first epoch with the lowest validation loss, counted from 1."""
        losses = self.history["val_loss"]
        return losses.index(min(losses)) + 1

    def is_over(self, settings: FitSettings) -> bool:
        """Whether all epochs are done, or none has been better for too long."""
        if self.epochs == 0:
            return False
        waited = self.epochs - self.best_epoch
        return self.epochs >= settings.epochs or 0 < settings.patience <= waited


class Checkpoint:
    """The state of an unfinished training as one `.npz` file, replaced as a whole each epoch.

    A process can be killed at any moment: what is found is the last complete state, by checksums.

    Args:
        path: The file; its folder is made when needed.
        on_saved: Called after each save, to send the file elsewhere.
    """

    def __init__(self, path: Path, on_saved: Callable[[], None] | None = None) -> None:
        self.path = path
        self._on_saved = on_saved

    def save(self, variables: Sequence[np.ndarray], progress: Progress) -> None:
        """Replaces the saved state.

        Args:
            variables: State of the model and then of its optimizer.
            progress: History and best weights.

        Raises:
            OSError: The file cannot be written.
        """
        arrays = {f"variable_{i}": value for i, value in enumerate(variables)}
        arrays |= {f"best_{i}": value for i, value in enumerate(progress.best_weights)}
        description = {
            "history": progress.history,
            "variables": len(variables),
            "best": len(progress.best_weights),
        }
        encoded = np.frombuffer(json.dumps(description).encode(), dtype=np.uint8)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_name(f"{self.path.name}.{os.getpid()}.unfinished")
        with aside.open("wb") as stream:
            np.savez(stream, allow_pickle=False, description=encoded, **arrays)
        # not flushed to the disk: after a power cut the checksums tell, and flushing costs time
        aside.replace(self.path)
        if self._on_saved:
            self._on_saved()

    def load(self) -> tuple[list[np.ndarray], Progress] | None:
        """The saved variables and progress; None where there are none that can be used."""
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                description = json.loads(stored["description"].tobytes())
                variables = _numbered(stored, "variable_", description["variables"])
                best = _numbered(stored, "best_", description["best"])
                return variables, Progress(description["history"], best)
        except FileNotFoundError:
            return None
        except (zipfile.BadZipFile, OSError, ValueError, KeyError, EOFError, RuntimeError) as error:
            logger.warning(
                "The checkpoint %s is damaged (%s); training starts anew", self.path, error
            )
            return None


def fit(
    model: keras.Model,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    settings: FitSettings,
    *,
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> FitResult:
    """Trains a model, which has the best epoch's weights at the end.

    A training that goes on from a checkpoint has the same weights, optimizer, dropout and
    early-stopping state as one that was never interrupted, but another order of the rows from there
    on (it is shuffled by `seed` plus the epochs done), so its result is close, not equal.

    Args:
        model: A built model with one input and one output; float32 softmax [rows, classes] or
            linear [rows, 1].
        train: Inputs [rows, ...] and labels [rows]: class indices (int) or targets (float). They
            may be memory-mapped.
        validation: The same for the rows that decide which epoch is the best.
        settings: How to train.
        checkpoint: Where the state is kept after each epoch; None keeps none.
        on_epoch: Called after each epoch with its number, from 1, and its metrics.

    Raises:
        DivergedError: A loss is not finite.
        OSError: The checkpoint cannot be written.
    """
    started = time.perf_counter()
    _compile(model, settings)
    progress = _restored(model, checkpoint) if checkpoint else Progress()
    resumed_from = progress.epochs
    keras.utils.set_random_seed((settings.seed + resumed_from) % 2**32)
    if not progress.is_over(settings):
        model.fit(
            *train,
            sample_weight=_row_weights(train[1], settings),
            validation_data=(*validation, _row_weights(validation[1], settings)),
            validation_batch_size=_validation_batch_size(validation[0], settings),
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            initial_epoch=resumed_from,
            callbacks=[_EpochEnd(progress, settings, checkpoint, on_epoch)],
            verbose=0,
        )
    model.set_weights(progress.best_weights)
    seconds = time.perf_counter() - started
    return FitResult(
        history={name: tuple(values) for name, values in progress.history.items()},
        best_epoch=progress.best_epoch,
        resumed_from=resumed_from,
        seconds=seconds,
        rows_per_second=len(train[1]) * (progress.epochs - resumed_from) / seconds,
    )


class _EpochEnd(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """What happens once per epoch: judge, remember, save, report, stop."""

    def __init__(
        self,
        progress: Progress,
        settings: FitSettings,
        checkpoint: Checkpoint | None,
        on_epoch: Callable[[int, dict[str, float]], None] | None,
    ) -> None:
        super().__init__()
        self._progress = progress
        self._settings = settings
        self._checkpoint = checkpoint
        self._on_epoch = on_epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        for name in ("loss", "val_loss"):
            if not math.isfinite(metrics[name]):
                raise DivergedError(f"{name} is {metrics[name]} after epoch {epoch + 1}")
        for name, value in metrics.items():
            self._progress.history.setdefault(name, []).append(value)
        if self._progress.best_epoch == epoch + 1:
            self._progress.best_weights = self.model.get_weights()
        if self._checkpoint:
            self._checkpoint.save(_values(self.model), self._progress)
        if self._on_epoch:
            self._on_epoch(epoch + 1, metrics)
        self.model.stop_training = self._progress.is_over(self._settings)


def _compile(model: keras.Model, settings: FitSettings) -> None:
    is_classification = settings.problem == "classification"
    model.compile(
        optimizer=keras.optimizers.Adam(settings.learning_rate),
        loss="sparse_categorical_crossentropy" if is_classification else "mean_squared_error",
        metrics=["accuracy"] if is_classification else [keras.metrics.MeanAbsoluteError("mae")],
        steps_per_execution=settings.steps_per_execution,
        jit_compile=settings.jit_compile,
    )
    model.optimizer.build(model.trainable_variables)


def _state(model: keras.Model) -> list[Any]:
    """Every variable that training changes: weights, dropout's random state, the optimizer's."""
    return [*model.variables, *model.optimizer.variables]


def _values(model: keras.Model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in _state(model)]


def _restored(model: keras.Model, checkpoint: Checkpoint) -> Progress:
    """Puts the saved state into the model, if there is one that fits it."""
    saved = checkpoint.load()
    if saved is None:
        return Progress()
    values, progress = saved
    if [value.shape for value in values] != [tuple(variable.shape) for variable in _state(model)]:
        logger.warning("%s is of another network; training starts anew", checkpoint.path)
        return Progress()
    for variable, value in zip(_state(model), values, strict=True):
        variable.assign(value)
    return progress


def _row_weights(labels: np.ndarray, settings: FitSettings) -> np.ndarray | None:
    if settings.class_weights is None:
        return None
    # by NumPy: Keras turns class weights into row weights in a Python loop over the rows
    return np.asarray(settings.class_weights, dtype=np.float32).take(labels)


def _validation_batch_size(inputs: np.ndarray, settings: FitSettings) -> int:
    fitting_rows = VALIDATION_BATCH_VALUES // math.prod(inputs.shape[1:])
    return max(settings.batch_size, min(VALIDATION_BATCH_ROWS, fitting_rows))


def _numbered(stored: Any, prefix: str, count: int) -> list[np.ndarray]:
    return [stored[f"{prefix}{index}"] for index in range(count)]
