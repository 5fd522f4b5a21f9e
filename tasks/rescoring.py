"""A metric of any choice of rows, asked for thousands of times: what can be prepared, is."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.handoffs import Problem
from tasks.metrics import BINARY, scaled_to_one
from tasks.outputs import widened
from tasks.sequence_metrics import entity_counts, perplexity_of

Index = NDArray[np.int64]
Score = Callable[[Index], float]
# of the calibration error, as `tasks.metrics.measure` has it by default
BINS = 10
# those that depend on nothing but the labels that a model gives, and those that are means over rows
LABEL_METRICS = frozenset({
    "accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "precision",
    "recall", "f1",
})  # fmt: skip
MEAN_METRICS = frozenset({"log_loss", "brier", "mae"})


def scorer(
    problem: Problem,
    metric: str,
    truth: NDArray[Any],
    ours: NDArray[np.floating],
    theirs: NDArray[np.floating] | None,
    classes: Sequence[str],
) -> Score:
    """The metric of any choice of rows: 0 to n - 1 as ours predicts them, n to 2n - 1 as theirs.

    What is a function of sums over rows is summed up once per row, as it is asked for thousands of
    times. Without theirs there are the rows 0 to n - 1 alone.
    """
    models = [ours] if theirs is None else [ours, theirs]
    if problem != "classification" and ours.ndim > 1:
        width = max(found.shape[1] for found in models)
        models = [widened(found, width) for found in models]
    truth, found = np.concatenate([truth] * len(models)), np.concatenate(models)
    if problem == "token_classification":
        counts = entity_counts(truth, found, classes)
        return lambda index: _of_entities(metric, counts[index].sum(axis=0))
    if problem == "text_generation":
        logs = np.asarray(np.nansum(found, axis=1, dtype=np.float64))
        tokens = np.sum(truth >= 0, axis=1)
        return lambda index: perplexity_of(float(logs[index].sum()), int(tokens[index].sum()))
    if problem == "classification":
        return _of_classes(metric, truth, found, len(models))
    return _of_values(metric, truth, found)


def _of_values(metric: str, targets: NDArray[Any], found: NDArray[np.floating]) -> Score:
    if metric in MEAN_METRICS:
        off = row_scores("regression", metric, targets, found)
        return lambda index: float(off[index].mean())
    squares = np.square(found.astype(np.float64) - targets)
    if metric == "rmse":
        return lambda index: math.sqrt(squares[index].mean())
    middle = np.asarray(targets - targets.mean(dtype=np.float64), np.float64)

    def r2(index: Index) -> float:
        if len(index) < 2:  # noqa: PLR2004  # where it is undefined
            return math.nan
        spread, lost = np.square(middle[index]).sum(), float(squares[index].sum())
        spread = float(spread - middle[index].sum() ** 2 / len(index))
        # as scikit-learn has it of targets that are all alike
        return 1 - lost / spread if spread > 0 else float(lost == 0)

    return r2


def _of_classes(
    metric: str, labels: NDArray[Any], found: NDArray[np.floating], models: int
) -> Score:
    if metric in MEAN_METRICS:
        scores = row_scores("classification", metric, labels, found)
        return lambda index: float(scores[index].mean())
    probabilities = scaled_to_one(found)
    classes = probabilities.shape[1]
    if metric in {"roc_auc", "pr_auc"}:
        from scipy import stats

        # of two models whose scores are spread differently only the ranks can be swapped:
        # Venkatraman and Begg, 1996, https://doi.org/10.1093/biomet/83.4.835
        each = np.split(probabilities, models)
        ranks = np.concatenate([stats.rankdata(scores, axis=0) for scores in each])
        scored = range(1, classes) if classes == BINARY else range(classes)
        areas = [_Area(labels == label, ranks[:, label], metric) for label in scored]
        return lambda index: float(np.mean([area(index) for area in areas]))
    if metric == "calibration_error":
        return _of_calibration(labels, probabilities)
    cells = labels * classes + probabilities.argmax(axis=1)
    size = classes * classes

    def of_cells(index: Index) -> float:
        confusion = np.bincount(cells[index], minlength=size).reshape(classes, classes)
        return float(metric_of_confusion(metric, confusion))

    return of_cells


def row_scores(
    problem: Problem, metric: str, truth: NDArray[Any], found: NDArray[np.floating]
) -> NDArray[np.float64]:
    """What each row adds to a metric that is a mean over rows, [rows].

    Args:
        problem: `classification` or `regression`.
        metric: One of MEAN_METRICS.
        truth: As `tasks.metrics.measure` takes it, [rows].
        found: Predictions, as `tasks.outputs` describes them.
    """
    if problem == "regression":
        return np.asarray(np.abs(found.astype(np.float64) - truth))
    probabilities = scaled_to_one(found)
    classes = probabilities.shape[1]
    if metric == "log_loss":
        tiny = np.finfo(np.float64).eps
        given = probabilities[np.arange(len(truth)), truth]
        return np.asarray(-np.log(np.clip(given, tiny, None)))
    hot = truth[:, None] == np.arange(classes)
    return np.asarray(np.square(probabilities - hot).sum(axis=1) / (2 if classes == BINARY else 1))


def _of_calibration(labels: NDArray[Any], probabilities: NDArray[np.float64]) -> Score:
    """Within a bin, the share of rows times the gap is the sum of the rows' own over all rows."""
    confidence = probabilities.max(axis=1)
    gap = confidence - (probabilities.argmax(axis=1) == labels)
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return lambda index: float(np.abs(np.bincount(bins[index], gap[index])).sum() / len(index))


class _Area:
    """The area under a curve over all thresholds, the rows sorted once.

    Under the ROC curve it is the share of pairs of a row of the class and another in which the
    first is given more of it, ties counting half (Hanley and McNeil, 1982,
    https://doi.org/10.1148/radiology.143.1.7063747); under the curve of precision and recall it is
    the average precision, as scikit-learn has it.

    Args:
        is_one: Which rows are of the class, [rows].
        scores: What a model gives it, [rows].
        metric: `roc_auc` or `pr_auc`.
    """

    def __init__(self, is_one: NDArray[np.bool_], scores: NDArray[np.float64], metric: str) -> None:
        self._order = np.argsort(-scores, kind="stable")
        self._is_one = is_one[self._order]
        found = scores[self._order]
        # rows with one score are above a threshold together
        self._starts = np.flatnonzero(np.append(True, found[1:] != found[:-1]))
        self._metric = metric

    def __call__(self, index: Index) -> float:
        counts = np.bincount(index, minlength=len(self._order))[self._order]
        ones = np.add.reduceat(counts * self._is_one, self._starts)
        others = np.add.reduceat(counts, self._starts) - ones
        above, below = np.cumsum(ones), np.cumsum(others)
        if not above[-1] or not below[-1]:
            return math.nan
        if self._metric == "roc_auc":
            pairs = np.sum(others * (above - ones / 2))
            return float(pairs / (float(above[-1]) * float(below[-1])))
        held = above + below > 0
        precision = above[held] / (above + below)[held]
        return float(np.sum(ones[held] * precision) / above[-1])


def metric_of_confusion(metric: str, confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """A metric of labels, from how many rows of each class are given which.

    Args:
        metric: One of LABEL_METRICS.
        confusion: Rows by their true classes and the predicted ones, [..., classes, classes].

    Returns:
        The metric, [...].
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, guessed = confusion.sum(axis=-1), confusion.sum(axis=-2)
    if metric == "accuracy":
        return np.asarray(right.sum(axis=-1) / true.sum(axis=-1))
    name, _, mean = metric.partition("_")
    above, below = {
        "balanced": (right, true),
        "recall": (right, true),
        "precision": (right, guessed),
        "f1": (2 * right, true + guessed),
    }[name]
    shares = above / np.maximum(below, 1)
    if not mean:
        return np.asarray(shares[..., 1])
    # over the classes that occur
    occurs = true > 0
    return np.asarray((shares * occurs).sum(axis=-1) / occurs.sum(axis=-1))


def _of_entities(metric: str, counts: NDArray[np.int64]) -> float:
    right, found, true, words_right, words = (int(count) for count in counts)
    if metric == "accuracy":
        return words_right / max(words, 1)
    above, below = {
        "precision": (right, found),
        "recall": (right, true),
        "f1": (2 * right, found + true),
    }[metric]
    return above / max(below, 1)
