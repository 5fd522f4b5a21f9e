"""Two models' figures that are counts or sums over rows: drawn anew many thousand times.

A metric of labels depends only on how many rows of each class both models give which labels, so a
resample of rows is one draw of those counts, and a swap of predictions one of each count. A mean
over rows needs no more than the rows' differences. The area under the ROC curve is a sum over pairs
of rows, which are sorted once.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.handoffs import Problem
from tasks.metrics import BINARY, HIGHER_IS_BETTER, scaled_to_one
from tasks.rescoring import LABEL_METRICS, MEAN_METRICS, metric_of_confusion, row_scores

# of numbers that are drawn at once, which bounds the memory
DRAWN_AT_ONCE = 2**22


class Tally(Protocol):
    """What is known of two models on the same rows."""

    def resampled(self, resamples: int) -> NDArray[np.float64]:
        """The gain of one over the other on rows drawn anew, [resamples]; NaN where undefined."""

    def swapped(self, resamples: int) -> NDArray[np.float64]:
        """The gain where the predictions of each row are swapped at random, [resamples]."""


def tally_of(
    problem: Problem,
    metric: str,
    truth: NDArray[Any],
    ours: NDArray[np.floating],
    theirs: NDArray[np.floating],
) -> Tally | None:
    """What the gain by a metric depends on; None where that is more than counts and means.

    Args:
        problem: What is predicted.
        metric: One of the problem's metrics.
        truth: As `tasks.metrics.measure` takes it, of n rows.
        ours: Predictions of the model that is judged, as `tasks.outputs` describes them.
        theirs: Those of the other model, for the same rows.
    """
    if problem == "classification" and metric in LABEL_METRICS:
        return _Counts(metric, truth, ours.argmax(axis=1), theirs.argmax(axis=1), ours.shape[1])
    if problem in {"classification", "regression"} and metric in MEAN_METRICS:
        sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
        one, other = (row_scores(problem, metric, truth, found) for found in (ours, theirs))
        return _Means(sign * (one - other))
    if problem == "classification" and metric == "roc_auc" and ours.shape[1] == BINARY:
        return _Areas(truth == 1, scaled_to_one(ours)[:, 1], scaled_to_one(theirs)[:, 1])
    return None


class _Counts:
    """How many rows have each class, our label and theirs."""

    def __init__(
        self,
        metric: str,
        labels: NDArray[Any],
        ours: NDArray[np.int64],
        theirs: NDArray[np.int64],
        classes: int,
    ) -> None:
        cells = (labels.astype(np.int64) * classes + ours) * classes + theirs
        found, self._counts = np.unique(cells, return_counts=True)
        self._metric, self._classes = metric, classes
        label, rest = np.divmod(found, classes * classes)
        self._ours, self._theirs = (
            label * classes + guess for guess in (rest // classes, rest % classes)
        )

    def resampled(self, resamples: int) -> NDArray[np.float64]:
        rows = int(self._counts.sum())
        drawn = np.random.default_rng(0).multinomial(rows, self._counts / rows, resamples)
        return self._gains(
            self._confusions(drawn, self._ours), self._confusions(drawn, self._theirs)
        )

    def swapped(self, resamples: int) -> NDArray[np.float64]:
        size = (resamples, len(self._counts))
        swaps = np.random.default_rng(0).binomial(self._counts, 0.5, size)
        kept = self._counts - swaps
        ours = self._confusions(kept, self._ours) + self._confusions(swaps, self._theirs)
        theirs = self._confusions(kept, self._theirs) + self._confusions(swaps, self._ours)
        return self._gains(ours, theirs)

    def _confusions(
        self, counts: NDArray[np.int64], places: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Rows by class and label, int64 [resamples, classes, classes]."""
        found = np.zeros((len(counts), self._classes**2), np.int64)
        for column, place in enumerate(places):
            found[:, place] += counts[:, column]
        return found.reshape(-1, self._classes, self._classes)

    def _gains(self, ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> NDArray[np.float64]:
        return metric_of_confusion(self._metric, ours) - metric_of_confusion(self._metric, theirs)


class _Means:
    """By how much each row is better answered, [rows]."""

    def __init__(self, gains: NDArray[np.float64]) -> None:
        self._gains = gains

    def resampled(self, resamples: int) -> NDArray[np.float64]:
        random, rows = np.random.default_rng(0), len(self._gains)
        return np.concatenate([
            self._gains[random.integers(0, rows, (some, rows), np.int32)].mean(axis=1)
            for some in _pieces(resamples, rows)
        ])  # fmt: skip

    def swapped(self, resamples: int) -> NDArray[np.float64]:
        random, rows = np.random.default_rng(0), len(self._gains)
        wide = -(-rows // 8) * 8
        gains = np.zeros(wide)
        gains[:rows] = self._gains
        found = []
        for some in _pieces(resamples, wide):
            bits = np.frombuffer(random.bytes(some * wide // 8), np.uint8)
            swaps = np.unpackbits(bits).reshape(some, wide).astype(np.float64)
            found.append((gains.sum() - 2 * (swaps @ gains)) / rows)
        return np.concatenate(found)


class _Areas:
    """The areas under the ROC curves of two models, of two classes.

    An area is the share of pairs of a row of the class and another in which the first is given more
    of it, ties counting half (Hanley and McNeil, https://doi.org/10.1148/radiology.143.1.7063747).
    What is swapped are ranks, as scores of two models may be spread differently (Venkatraman and
    Begg, https://doi.org/10.1093/biomet/83.4.835).

    Args:
        is_one: Which rows are of the class, [rows].
        ours: What the one model gives it, [rows].
        theirs: What the other does.
    """

    def __init__(self, is_one: NDArray[np.bool_], ours: NDArray[Any], theirs: NDArray[Any]) -> None:
        from scipy import stats

        # in order, so that what is read one after the other lies so
        order = np.argsort(ours, kind="stable")
        self._ones, self._others = order[is_one[order]], order[~is_one[order]]
        self._ranks = [stats.rankdata(scores) for scores in (ours, theirs)]

    def resampled(self, resamples: int) -> NDArray[np.float64]:
        random, rows = np.random.default_rng(0), len(self._ones) + len(self._others)
        models = [_sorted(ranks[self._others], ranks[self._ones]) for ranks in self._ranks]
        gains = np.full(resamples, np.nan)
        below = np.zeros(len(self._others) + 1)
        for number in range(resamples):
            counts = np.bincount(random.integers(0, rows, rows, np.int32), minlength=rows)
            ones, others = counts[self._ones].astype(np.float64), counts[self._others]
            if not ones.any() or not others.any():
                continue
            areas = []
            for order, low, high in models:
                np.cumsum(others[order], out=below[1:])
                areas.append(ones @ (below[low] + below[high]))
            gains[number] = (areas[0] - areas[1]) / (2 * ones.sum() * others.sum())
        return gains

    def swapped(self, resamples: int) -> NDArray[np.float64]:
        """As each rank counts for one of both models, their difference is a sum over rows."""
        ones, others = (
            np.concatenate([ranks[rows] for ranks in self._ranks])
            for rows in (self._ones, self._others)
        )
        # of both models' ranks: of the class those of the others below, of the others those above
        _, low, high = _sorted(others, ones)
        below = (low + high) / 2
        _, low, high = _sorted(ones, others)
        above = len(ones) - (low + high) / 2
        gains = np.concatenate([np.subtract(*np.split(pairs, 2)) for pairs in (below, above)]) / 2
        return _Means(gains * len(gains) / (len(self._ones) * len(self._others))).swapped(resamples)


def _sorted(
    values: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The order of values; how many of them are less than each of others, and how many no more."""
    order = np.argsort(values, kind="stable")
    found = values[order]
    return order, np.searchsorted(found, others, "left"), np.searchsorted(found, others, "right")


def _pieces(resamples: int, rows: int) -> Sequence[int]:
    """How many resamples are drawn at once, each time."""
    at_once = max(1, DRAWN_AT_ONCE // rows)
    full, rest = divmod(resamples, at_once)
    return [at_once] * full + [rest] * bool(rest)


def likelihood_of(gain: float, swapped: NDArray[np.float64]) -> float:
    """How likely so large a gain is, either way, among those of swapped predictions.

    With one added to both counts, as no sample of swaps makes a gain impossible (Phipson and Smyth,
    https://doi.org/10.2202/1544-6115.1585).

    Args:
        gain: As it is.
        swapped: Where predictions were swapped at random.
    """
    # what differs by rounding alone is as large
    slack = abs(gain) * 1e-12
    sides = (np.sum(swapped >= gain - slack), np.sum(swapped <= gain + slack))
    return float(min(1.0, 2 * (min(sides) + 1) / (len(swapped) + 1)))
