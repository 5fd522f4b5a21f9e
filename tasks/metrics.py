"""The figures that judge a model: labels and predictions in, named numbers out."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tasks.handoffs import Problem
from tasks.sequence_metrics import (
    TEXT_GENERATION,
    TOKEN_CLASSIFICATION,
    entity_metrics,
    perplexity,
)

CLASSIFICATION: Mapping[str, bool] = {
    "accuracy": True,
    "balanced_accuracy": True,
    "precision_macro": True,
    "recall_macro": True,
    "f1_macro": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "roc_auc": True,
    "pr_auc": True,
    "log_loss": False,
    "brier": False,
    "calibration_error": False,
}
REGRESSION: Mapping[str, bool] = {"r2": True, "mae": False, "rmse": False}
BINARY = 2
# those that are shown of a model, in their order
MAIN = (
    "accuracy", "balanced_accuracy", "precision", "recall", "f1", "f1_macro", "roc_auc", "log_loss",
    "mae", "rmse", "r2", "perplexity", "bleu", "rouge_l",
)  # fmt: skip
METRICS: Mapping[Problem, Mapping[str, bool]] = {
    "classification": CLASSIFICATION,
    "regression": REGRESSION,
    "token_classification": TOKEN_CLASSIFICATION,
    "text_generation": TEXT_GENERATION,
}
HIGHER_IS_BETTER: Mapping[str, bool] = {
    name: higher for metrics in METRICS.values() for name, higher in metrics.items()
}


def known_metrics(problem: Problem) -> tuple[str, ...]:
    """Names of the metrics of a problem."""
    return tuple(METRICS[problem])


def is_better(metric: str, value: float, other: float) -> bool:
    """Whether a value of the metric is strictly better than another."""
    return value > other if HIGHER_IS_BETTER[metric] else value < other


def measure(
    problem: Problem,
    truth: NDArray[Any],
    predictions: NDArray[np.floating],
    bins: int = 10,
    classes: Sequence[str] = (),
) -> dict[str, float]:
    """The metrics of a problem.

    Args:
        problem: What is predicted.
        truth: Class indices [rows], or targets [rows]; for problems of sequences class indices of
            words [rows, words], or next tokens [rows, length], -1 where none is.
        predictions: As `tasks.outputs` describes them.
        bins: Bins of the calibration error.
        classes: The labels in the order of their indices; only for the tags of words.
    """
    if problem == "token_classification":
        return entity_metrics(truth, predictions, classes)
    if problem == "text_generation":
        return perplexity(truth, predictions)
    if problem == "classification":
        return classification_metrics(truth, predictions, bins)
    return regression_metrics(truth, predictions)


def figure(
    problem: Literal["classification", "regression"],
    metric: str,
    truth: NDArray[Any],
    predictions: NDArray[np.floating],
) -> float:
    """One of the metrics that `measure` gives, without the work for the others.

    Returns:
        NaN where it is undefined on these rows.
    """
    if problem == "regression":
        return regression_metrics(truth, predictions).get(metric, math.nan)
    ways = _classification_ways(truth, predictions, bins=10)
    return float(ways[metric]()) if metric in ways else math.nan


def classification_metrics(
    labels: NDArray[Any], probabilities: NDArray[np.floating], bins: int = 10
) -> dict[str, float]:
    """Metrics of predicted probabilities, from scikit-learn.

    Means over classes (`..._macro`, `balanced_accuracy`) are over the classes that occur among the
    rows. With two classes, `roc_auc` and `pr_auc` are of the second; with more, the mean of
    one-versus-rest; both are left out when a class does not occur, since they are undefined then.
    `precision`, `recall` and `f1` are those of the second of two classes; with more there are none.

    Args:
        labels: Class indices [rows].
        probabilities: [rows, classes]; each row is scaled to a sum of 1.
        bins: Bins of the calibration error.
    """
    ways = _classification_ways(labels, probabilities, bins)
    return {name: float(way()) for name, way in ways.items()}


def _classification_ways(
    labels: NDArray[Any], probabilities: NDArray[np.floating], bins: int
) -> dict[str, Callable[[], float]]:
    """For each metric that is defined on these rows, how it is computed."""
    from sklearn import metrics

    probabilities = scaled_to_one(probabilities)
    classes = np.arange(probabilities.shape[1])
    present, is_binary = np.unique(labels), len(classes) == BINARY
    predicted = probabilities.argmax(axis=1)
    macro = functools.cache(
        lambda: metrics.precision_recall_fscore_support(
            labels, predicted, labels=present, average="macro", zero_division=0.0
        )
    )
    ways: dict[str, Callable[[], float]] = {
        "accuracy": lambda: metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": lambda: macro()[1],
        "precision_macro": lambda: macro()[0],
        "recall_macro": lambda: macro()[1],
        "f1_macro": lambda: macro()[2],
        "log_loss": lambda: metrics.log_loss(labels, probabilities, labels=classes),
        "brier": lambda: metrics.brier_score_loss(
            _one_hot(labels, classes), probabilities, scale_by_half=is_binary
        ),
        "calibration_error": lambda: expected_calibration_error(labels, probabilities, bins),
    }
    if is_binary:
        # 0 where the second class neither occurs nor is predicted
        second = functools.cache(
            lambda: metrics.precision_recall_fscore_support(
                labels, predicted, pos_label=1, average="binary", zero_division=0.0
            )
        )
        ways |= {
            "precision": lambda: second()[0],
            "recall": lambda: second()[1],
            "f1": lambda: second()[2],
        }
    if len(present) == len(classes):
        truth = _one_hot(labels, classes)
        scored = slice(1, None) if is_binary else slice(None)
        ways["roc_auc"] = lambda: metrics.roc_auc_score(truth[:, scored], probabilities[:, scored])
        ways["pr_auc"] = lambda: metrics.average_precision_score(
            truth[:, scored], probabilities[:, scored]
        )
    return ways


def regression_metrics(targets: NDArray[Any], values: NDArray[np.floating]) -> dict[str, float]:
    """Mean absolute error, root mean squared error and R2, from scikit-learn.

    R2 is left out for fewer than two rows, where it is undefined.

    Args:
        targets: [rows].
        values: Predicted, [rows].
    """
    from sklearn import metrics

    figures = {
        "mae": metrics.mean_absolute_error(targets, values),
        "rmse": metrics.root_mean_squared_error(targets, values),
    }
    if len(targets) > 1:
        figures["r2"] = metrics.r2_score(targets, values)
    return {name: float(value) for name, value in figures.items()}


def expected_calibration_error(
    labels: NDArray[Any], probabilities: NDArray[np.floating], bins: int
) -> float:
    """How far confidence and accuracy are apart, on average over bins of equal width.

    Guo et al., On Calibration of Modern Neural Networks, 2017, equation 3
    (https://arxiv.org/abs/1706.04599): the sum over bins of the share of rows in the bin times the
    absolute difference of mean confidence and accuracy there, for the most probable class.

    Args:
        labels: Class indices [rows].
        probabilities: [rows, classes].
        bins: Number of bins between 0 and 1.
    """
    share, confidence, accuracy = calibration_bins(labels, probabilities, bins)
    return float(np.sum(share * np.abs(confidence - accuracy)))


def calibration_bins(
    labels: NDArray[Any], probabilities: NDArray[np.floating], bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Share of the rows, mean confidence and accuracy, of each bin that holds rows.

    Args:
        labels: Class indices [rows].
        probabilities: [rows, classes].
        bins: Number of bins between 0 and 1; a bin holds its upper edge, not its lower.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    rows = np.bincount(index, minlength=bins)
    held = rows > 0
    return (
        rows[held] / len(labels),
        np.bincount(index, confidence, bins)[held] / rows[held],
        np.bincount(index, right, bins)[held] / rows[held],
    )


def scaled_to_one(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities as float64 whose rows sum to 1; a row of zeros says nothing: all alike."""
    exact = np.asarray(probabilities, dtype=np.float64)
    total = exact.sum(axis=1, keepdims=True)
    alike = np.full_like(exact, 1 / exact.shape[1])
    scaled: NDArray[np.float64] = np.divide(exact, total, out=alike, where=total > 0)
    return scaled


def _one_hot(labels: NDArray[Any], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    hot: NDArray[np.int64] = (np.asarray(labels)[:, None] == classes[None, :]).astype(np.int64)
    return hot
