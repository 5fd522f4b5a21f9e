"""Gradient-boosted trees in the place of a network: prepared data in, a trained model out.

scikit-learn stops some rounds after the best one and keeps them all; here the rounds after the best
are left out, as a network's weights after its best epoch are.
"""

import logging
import platform
import time
from typing import Any

import numpy as np

from tasks import energy, tracking
from tasks.config import ModelConfig, TrainingConfig
from tasks.devices import processor, usable_cpus
from tasks.errors import TrainingDiverged
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import Hardware, TrainedModel
from tasks.models import build_model
from tasks.models.boosting import LIBRARIES
from tasks.storage import Storage
from tasks.trees import as_onnx, ensemble_of, summary_of_trees

LOSSES = {"auto": "squared_error"}
# scikit-learn's squared error is half of what everyone else means by it
DOUBLED = "squared_error"
logger = logging.getLogger(__name__)


def train_boosting(
    context: RunContext,
    prepared: PreparedData,
    model: ModelConfig,
    training: TrainingConfig,
    class_weights: tuple[float, ...] | None = None,
) -> TrainedModel:
    """Fits trees, one round an epoch, until the validation loss is no better for too long.

    Args:
        context: The run.
        prepared: The rows; a table.
        model: Size of the trees.
        training: Uses `epochs`, `learning_rate`, `patience`, `loss`, `class_weights` and `seed`.
        class_weights: Weight of each class in the loss; None weighs every row the same.

    Raises:
        ConfigError: The rows are nothing for trees.
        TrainingDiverged: The loss is not a finite number any more.
    """
    storage = Storage(context.storage_uri)
    estimator: Any = build_model(model, prepared)
    started = time.perf_counter()
    _configure(estimator, prepared, training)
    with energy.metered(with_gpus=False) as meter:
        history = _fit(estimator, storage, prepared, class_weights)
    seconds = time.perf_counter() - started
    best = int(np.argmin(history["val_loss"])) + 1
    logger.info("%d rounds of trees, the best after %d", len(history["val_loss"]), best)
    tracking.log_history(context, history)
    ensemble = ensemble_of(estimator, best, len(prepared.classes))
    with storage.workspace() as folder:
        path = folder / "network.onnx"
        path.write_bytes(as_onnx(ensemble))
        network = storage.put_file(path)
    return TrainedModel(
        network=network,
        parameters=ensemble.nodes,
        history=history,
        best_epoch=best,
        resumed_from=0,
        seconds=seconds,
        rows_per_second=prepared.train.count * len(history["val_loss"]) / seconds,
        seed=training.seed,
        hardware=Hardware(
            backend="scikit-learn",
            devices=(f"CPU {platform.machine()}",),
            precision="float32",
            cpu_count=usable_cpus(),
            processor=processor(),
        ),
        summary=storage.put_bytes(summary_of_trees(ensemble).encode(), ".txt"),
        libraries=LIBRARIES,
        consumption=meter.consumption(),
    )


def _configure(estimator: Any, prepared: PreparedData, training: TrainingConfig) -> None:
    estimator.set_params(
        max_iter=training.epochs,
        learning_rate=training.learning_rate,
        random_state=training.seed,
        # it is what makes scikit-learn measure the validation rows after each round
        early_stopping=True,
        scoring="loss",
        n_iter_no_change=training.patience or training.epochs + 1,
    )
    if not prepared.classes:
        estimator.set_params(loss=LOSSES.get(training.loss, training.loss))


def _fit(
    estimator: Any,
    storage: Storage,
    prepared: PreparedData,
    class_weights: tuple[float, ...] | None,
) -> dict[str, tuple[float, ...]]:
    """Fits the estimator; the losses after each round, of the training and the validation rows."""
    (inputs, labels), (others, judged) = (
        storage.inputs_and_labels(side) for side in (prepared.train, prepared.validation)
    )
    weights = [
        None if class_weights is None else np.asarray(class_weights)[side]
        for side in (labels, judged)
    ]
    estimator.fit(
        inputs, labels, weights[0], X_val=others, y_val=judged, sample_weight_val=weights[1]
    )
    factor = -2.0 if getattr(estimator, "loss", "") == DOUBLED else -1.0
    found = {"loss": estimator.train_score_, "val_loss": estimator.validation_score_}
    # the first is of no tree at all
    history = {name: tuple((factor * scores[1:]).tolist()) for name, scores in found.items()}
    for name, losses in history.items():
        if not np.all(np.isfinite(losses)):
            raise TrainingDiverged(
                f"Boosting came to a {name} that is not a finite number; expected one after each "
                "round. Lower the learning rate, for example --set training.learning_rate="
                f"{estimator.learning_rate / 10:g}, or look for extreme values in the data."
            )
    return history
