"""What a problem asks for: loss and metrics, and labels and weights as these take them."""

from typing import Any

import keras
import numpy as np

from tasks.fitting import parallel
from tasks.fitting.settings import FitSettings

LOSSES = {
    "auto": "mean_squared_error",
    "squared_error": "mean_squared_error",
    "absolute_error": "mean_absolute_error",
}


def objective(settings: FitSettings) -> dict[str, Any]:
    """Loss and metrics, as `keras.Model.compile` takes them."""
    losses, metrics = keras.losses, keras.metrics
    if settings.problem == "regression":
        return {"loss": LOSSES[settings.loss], "metrics": [metrics.MeanAbsoluteError("mae")]}
    if settings.is_sequence:
        if parallel.replicas() > 1:
            # each sees a part of a batch only; the weights of its tokens are those in the whole
            loss = losses.SparseCategoricalCrossentropy()
            return {"loss": loss, "weighted_metrics": [_LabelledAccuracy("accuracy")]}
        # the mean over tokens that have a label: Keras's default divides by all tokens of a batch
        loss = losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
        return {"loss": loss, "weighted_metrics": [metrics.SparseCategoricalAccuracy("accuracy")]}
    if settings.labels == "one_hot":
        loss = losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
        return {"loss": loss, "metrics": [metrics.CategoricalAccuracy("accuracy")]}
    loss = losses.SparseCategoricalCrossentropy()
    return {"loss": loss, "metrics": [metrics.SparseCategoricalAccuracy("accuracy")]}


class _LabelledAccuracy(keras.metrics.SparseCategoricalAccuracy):  # type: ignore[misc]
    """Accuracy over what has a weight, whatever the weight."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Counts a batch: labels and weights [rows, length], probabilities by class."""
        return super().update_state(y_true, y_pred, keras.ops.cast(sample_weight > 0, "float32"))


def labels_and_weights(
    labels: np.ndarray, classes: int, settings: FitSettings
) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels as the loss takes them, and the weight of each in it.

    Args:
        labels: Class indices [rows], or [rows, length] with -1 where nothing is predicted; or
            targets float [rows].
        classes: Number of outputs.
        settings: Say how.

    Returns:
        Labels [rows], [rows, length] without negative ones, or one-hot float32 [rows, classes]; and
        float32 weights of the shape of the class indices, or None where all weigh the same.
    """
    if settings.problem == "regression":
        return labels, None
    weights = None
    known = np.maximum(labels, 0) if settings.is_sequence else labels
    if settings.class_weights is not None:
        # by NumPy: Keras turns class weights into row weights in a Python loop over the rows
        weights = np.asarray(settings.class_weights, dtype=np.float32).take(known)
    if settings.is_sequence:
        has_label = (labels >= 0).astype(np.float32)
        weights = has_label if weights is None else weights * has_label
    if settings.labels == "one_hot":
        known = np.eye(classes, dtype=np.float32)[known]
    return known, weights
