"""Whether a model is better than another or was lucky: their predictions in, an interval out."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.handoffs import Problem
from tasks.judgement import Difference
from tasks.metrics import BINARY, HIGHER_IS_BETTER, figure, scaled_to_one
from tasks.outputs import widened
from tasks.sequence_metrics import entity_counts

# resamples of the rows, fewer of many: the ends of a 95 % interval settle to a few percent of its
# width (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 14.4)
RESAMPLES, FEWER_RESAMPLES, MANY_ROWS = 1_000, 300, 20_000
Index = NDArray[np.int64]
Score = Callable[[Index], float]


def paired_difference(
    problem: Problem,
    metric: str,
    truth: NDArray[Any],
    ours: NDArray[np.floating],
    theirs: NDArray[np.floating],
    *,
    classes: Sequence[str] = (),
    confidence: float = 0.95,
) -> Difference | None:
    """By how much a model is better than another on the same rows, and how sure that is.

    The interval is the percentile bootstrap over rows, in which both models are always given the
    same rows (Efron and Tibshirani, 1993, chapter 13). That there is no difference is tested for
    the accuracy of classes by the exact test of McNemar
    (https://doi.org/10.1007/BF02295996), for all other metrics by swapping the predictions of the
    two at random, row by row. The same arguments give the same answer.

    Args:
        problem: What is predicted.
        metric: One of the problem's metrics.
        truth: As `tasks.metrics.measure` takes it, of n rows.
        ours: Predictions of the model that is judged, as `tasks.outputs` describes them.
        theirs: Those of the other model, for the same rows.
        classes: The labels in the order of their indices; only for the tags of words.
        confidence: Of the interval, between 0 and 1.

    Returns:
        Positive where ours is the better model, whether or not the metric is an error; None where
        the metric is undefined on these rows.
    """
    from scipy import stats

    rows = len(truth)
    score = scorer(problem, metric, truth, ours, theirs, classes)
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0

    def gain(first: Index, second: Index) -> float:
        return sign * (score(first) - score(second))

    index = np.arange(rows)
    value = gain(index, index + rows)
    if not math.isfinite(value):
        return None
    resamples = RESAMPLES if rows <= MANY_ROWS else FEWER_RESAMPLES
    drawn = stats.bootstrap(
        (index,), lambda chosen: gain(chosen, chosen + rows), vectorized=False,
        n_resamples=resamples, method="percentile", rng=np.random.default_rng(0),
    ).bootstrap_distribution  # fmt: skip
    # a resample without one of the classes says nothing
    known = drawn[np.isfinite(drawn)]
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    if problem == "classification" and metric == "accuracy":
        chance = mcnemar(truth, ours, theirs)
    else:
        chance = stats.permutation_test(
            (index, index + rows), gain, permutation_type="samples", vectorized=False,
            n_resamples=resamples, rng=np.random.default_rng(0),
        ).pvalue  # fmt: skip
    return Difference(
        value=value,
        low=float(low),
        high=float(high),
        confidence=confidence,
        chance=float(chance),
        rows=rows,
    )


def mcnemar(
    labels: NDArray[Any], ours: NDArray[np.floating], theirs: NDArray[np.floating]
) -> float:
    """The exact probability that two equal classifiers disagree so one-sidedly, two-sided.

    Args:
        labels: Class indices [rows].
        ours: Probabilities of one, [rows, classes].
        theirs: Of the other.
    """
    from scipy import stats

    right, others = (found.argmax(axis=1) == labels for found in (ours, theirs))
    won, lost = int(np.sum(right & ~others)), int(np.sum(others & ~right))
    return float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0


def rows_to_decide(difference: Difference, bound: float) -> int | None:
    """How many rows would tell on which side of a bound the true difference is.

    As an interval narrows with the square root of the rows, it is where the nearer end would reach
    the bound, if the difference stays what it is.

    Args:
        difference: On the rows there are.
        bound: Of the difference.

    Returns:
        None where it lies on the bound itself, so that no number would.
    """
    away = difference.value - bound
    if not away or not math.isfinite(away):
        return None
    reach = (difference.value - difference.low) if away > 0 else (
        difference.high - difference.value
    )  # fmt: skip
    return max(difference.rows, math.ceil(difference.rows * (reach / away) ** 2))


def scorer(
    problem: Problem,
    metric: str,
    truth: NDArray[Any],
    ours: NDArray[np.floating],
    theirs: NDArray[np.floating],
    classes: Sequence[str],
) -> Score:
    """The metric of any choice of rows: 0 to n - 1 as ours predicts them, n to 2n - 1 as theirs.

    What is a function of sums over rows is summed up once per row, as it is asked for thousands of
    times.
    """
    if ours.ndim > 1:
        width = max(ours.shape[1], theirs.shape[1])
        ours, theirs = (
            found if problem == "classification" else widened(found, width)
            for found in (ours, theirs)
        )
    truth, found = np.concatenate([truth, truth]), np.concatenate([ours, theirs])
    if problem == "token_classification":
        counts = entity_counts(truth, found, classes)
        return lambda index: _of_entities(metric, counts[index].sum(axis=0))
    if problem == "text_generation":
        logs = np.asarray(np.nansum(found, axis=1, dtype=np.float64))
        tokens = np.sum(truth >= 0, axis=1)
        return lambda index: math.exp(-logs[index].sum() / max(tokens[index].sum(), 1))
    if problem == "classification":
        return _of_classes(metric, truth, found)
    if metric == "r2":
        return lambda index: figure(problem, metric, truth[index], found[index])
    off: NDArray[np.float64] = np.abs(found.astype(np.float64) - truth)
    if metric == "mae":
        return lambda index: float(off[index].mean())
    return lambda index: math.sqrt(np.square(off[index]).mean())


def _of_classes(metric: str, labels: NDArray[Any], found: NDArray[np.floating]) -> Score:
    probabilities = scaled_to_one(found)
    rows, classes = np.arange(len(labels)), probabilities.shape[1]
    if metric == "log_loss":
        tiny = np.finfo(np.float64).eps
        surprise = -np.log(np.clip(probabilities[rows, labels], tiny, None))
        return lambda index: float(surprise[index].mean())
    if metric == "brier":
        hot = labels[:, None] == np.arange(classes)
        off = np.square(probabilities - hot).sum(axis=1) / (2 if classes == BINARY else 1)
        return lambda index: float(off[index].mean())
    if metric == "roc_auc":
        return lambda index: _area(labels[index], probabilities[index])
    if metric in {"pr_auc", "calibration_error"}:
        return lambda index: figure("classification", metric, labels[index], probabilities[index])
    cells = labels * classes + probabilities.argmax(axis=1)
    size = classes * classes

    def of_cells(index: Index) -> float:
        confusion = np.bincount(cells[index], minlength=size).reshape(classes, classes)
        return _of_confusion(metric, confusion)

    return of_cells


def _area(labels: NDArray[Any], probabilities: NDArray[np.float64]) -> float:
    """The area under the ROC curve, by ranks: Hanley and McNeil, 1982.

    It is the probability that a row of a class is given more of it than a row of another
    (https://doi.org/10.1148/radiology.143.1.7063747); of more than two classes, the mean.
    """
    from scipy import stats

    classes = probabilities.shape[1]
    scored = range(1, classes) if classes == BINARY else range(classes)
    ranks = stats.rankdata(probabilities[:, list(scored)], axis=0)
    areas = []
    for place, label in enumerate(scored):
        is_one = labels == label
        ones = int(is_one.sum())
        if not 0 < ones < len(labels):
            return math.nan
        above = ranks[is_one, place].sum() - ones * (ones + 1) / 2
        areas.append(above / (ones * (len(labels) - ones)))
    return float(np.mean(areas))


def _of_confusion(metric: str, confusion: NDArray[np.int64]) -> float:
    """A metric of the rows' true classes by their predicted ones, [classes, classes]."""
    right, true, guessed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    if metric == "accuracy":
        return float(right.sum() / true.sum())
    name, _, mean = metric.partition("_")
    # over the classes that occur, or of the second of two
    of = slice(1, 2) if not mean else true > 0
    above, below = {
        "balanced": (right, true),
        "recall": (right, true),
        "precision": (right, guessed),
        "f1": (2 * right, true + guessed),
    }[name]
    return float(np.mean(above[of] / np.maximum(below[of], 1)))


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
