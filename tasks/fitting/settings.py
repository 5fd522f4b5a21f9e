"""What the training loop is told, and what it answers."""

from dataclasses import dataclass
from typing import Literal

Problem = Literal["classification", "regression", "token_classification", "text_generation"]


@dataclass(frozen=True)
class FitSettings:
    """How to train.

    Args:
        problem: Classification (cross-entropy on class indices), regression (`loss`), or a class
            for each token of a row (cross-entropy, where the label is not negative).
        epochs: Passes over the training rows, those with a frozen backbone included.
        batch_size: Rows per step.
        learning_rate: Step size of Adam, the largest of the schedule.
        schedule: `constant`; `cosine`, falling to 0 along a half cosine; or `one_cycle`, rising
            before that.
        warmup: Share of a phase's steps over which the learning rate rises; 0 is none, and for
            `one_cycle` 30 %.
        weight_decay: Decoupled weight decay of AdamW, on kernels and embeddings; 0 is plain Adam.
        starts_trained: Whether the network starts from weights that were trained before; then all
            layers but the last are its backbone, where none is named `backbone`.
        frozen_epochs: First epochs, in which the backbone is not trained.
        fine_tuning_rate: Learning rate of the epochs after them; None is `learning_rate`.
        fine_tuned_layers: Beginnings of the names of the backbone's layers that are trained then;
            empty for all.
        patience: Epochs of the last phase without a better validation loss before training stops;
            0 never stops.
        loss: Of a regression; `auto` is the squared error.
        labels: Whether the loss is given class indices or one-hot vectors; only the latter can be
            smoothed.
        label_smoothing: Share of each label that is spread over all classes.
        shift: Largest random shift of training images, as a share of the side.
        rotation: Largest random rotation of them, in degrees.
        zoom: Largest random change of their size, as a share.
        class_weights: Weight of each class, by its index, in training and in validation loss;
            None weighs every row the same.
        seed: Seed of shuffling and augmentation; the caller seeds the model's weights and dropout
            as it builds it.
        steps_per_execution: Steps that Keras runs before it calls its callbacks.
        jit_compile: Whether XLA compiles the step; 'auto' leaves it to Keras.
    """

    problem: Problem
    epochs: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    warmup: float = 0.0
    weight_decay: float = 0.0
    starts_trained: bool = False
    frozen_epochs: int = 0
    fine_tuning_rate: float | None = None
    fine_tuned_layers: tuple[str, ...] = ()
    patience: int = 0
    loss: Literal["auto", "squared_error", "absolute_error"] = "auto"
    labels: Literal["integer", "one_hot"] = "integer"
    label_smoothing: float = 0.0
    shift: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0
    class_weights: tuple[float, ...] | None = None
    seed: int = 0
    steps_per_execution: int = 1
    jit_compile: bool | Literal["auto"] = False

    @property
    def is_sequence(self) -> bool:
        """Whether there is a label for each token, and not one for the row."""
        return self.problem in {"token_classification", "text_generation"}

    @property
    def last_phase(self) -> int:
        """Epochs done when the last phase begins, in which patience counts."""
        return self.frozen_epochs if self.frozen_epochs < self.epochs else 0


@dataclass(frozen=True)
class FitResult:
    """What training came to.

    Args:
        history: Per metric, its value after each epoch, those before an interruption included.
        best_epoch: The epoch with the lowest validation loss, counted from 1.
        resumed_from: Epochs that an interrupted training had already done.
        seconds: Time in the loop, by this process.
        rows_per_second: Training rows per second of it.
        data_wait_share: Share of the steps' time that was spent waiting for rows, between 0 and 1,
            in this process. A GPU idles for no more than that, as it has steps queued.
    """

    history: dict[str, tuple[float, ...]]
    best_epoch: int
    resumed_from: int
    seconds: float
    rows_per_second: float
    data_wait_share: float
