"""Rows drawn anew a thousand times: the interval of a figure, and whether chance makes it."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.handoffs import Problem
from tasks.rescoring import LABEL_METRICS, Index, Score, scorer

# enough for the ends of a 99 % interval to be among the drawn, not beyond them
RESAMPLES = 1_000
# where a resample costs no walk over the rows
RESAMPLES_OF_TALLIES = 10_000
# an interval of so many rows is narrow enough; more would take minutes
ROWS_AT_MOST = 20_000
# of indices that are drawn at once, which bounds the memory
DRAWN_AT_ONCE = 2**21
# where fewer resamples have all of the classes, too few rows are of one
DEFINED_AT_LEAST = 0.5
# shares of rows that a model answers by a label; where few differ, resampling is too sure
BY_LABEL = LABEL_METRICS - {"accuracy"}
WITHIN_ONE = BY_LABEL | {"accuracy", "roc_auc", "pr_auc"}
RULE_OF_THREE = 3


class Drawing:
    """What is drawn or swapped: single rows, or all rows of a cluster together.

    Args:
        rows: Number of rows.
        clusters: Which cluster each is in, [rows]; None where each stands alone.
    """

    def __init__(self, rows: int, clusters: NDArray[np.int64] | None) -> None:
        self.rows = self.count = rows
        self._order: Index | None = None
        if clusters is not None:
            _, codes, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
            self.count = len(sizes)
            self._order, self._sizes = np.argsort(codes, kind="stable"), sizes
            self._starts = np.cumsum(sizes) - sizes

    def __call__(self, chosen: Index) -> Index:
        """The places of the rows of what was chosen; from `count` on of the other's predictions."""
        if self._order is None:
            return chosen
        cluster = chosen % self.count
        sizes = self._sizes[cluster]
        # the place in its cluster of each row, counted on from where its cluster begins
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows: Index = self._order[np.repeat(self._starts[cluster], sizes) + within]
        rows += np.repeat(np.where(chosen < self.count, 0, self.rows), sizes)
        return rows


def resampled(
    statistic: Score, draw: Drawing, resamples: int = RESAMPLES
) -> NDArray[np.float64] | None:
    """A statistic of many choices of the rows, each of as many as there are.

    Args:
        statistic: Of row numbers, int64 [rows]; NaN where it is undefined.
        draw: What is drawn.
        resamples: How often is drawn.

    Returns:
        Those that are defined, [resamples]; None where there is nothing to draw from, or too many
        are undefined.
    """
    from scipy import stats

    if draw.count < 2:  # noqa: PLR2004  # of one nothing can be drawn
        return None
    with warnings.catch_warnings():
        # a resample without one of the classes says nothing, and is left out below
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        drawn = stats.bootstrap(
            (np.arange(draw.count),), lambda chosen: statistic(draw(chosen)), vectorized=False,
            n_resamples=resamples, batch=max(1, DRAWN_AT_ONCE // draw.rows), method="percentile",
            rng=np.random.default_rng(0),
        ).bootstrap_distribution  # fmt: skip
    known: NDArray[np.float64] = drawn[np.isfinite(drawn)]
    return known if len(known) >= DEFINED_AT_LEAST * resamples else None


def bootstrap_interval(
    statistic: Score, draw: Drawing, confidence: float, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """The percentile interval of a statistic, expanded where there are few of what is drawn.

    Args:
        statistic: Of row numbers, int64 [rows]; NaN where it is undefined.
        draw: What is drawn.
        confidence: Between 0 and 1.
        resamples: How often is drawn.

    Returns:
        Lower and upper end; None where there is nothing to draw from, or too many of the resamples
        are undefined.
    """
    known = resampled(statistic, draw, resamples)
    return None if known is None else percentile_interval(known, draw.count, confidence)


def percentile_interval(
    drawn: NDArray[np.float64], count: int, confidence: float
) -> tuple[float, float]:
    """The percentiles of resamples, expanded where there are few of what is drawn (Hesterberg).

    Args:
        drawn: A statistic of each resample.
        count: Rows or clusters, from which was drawn.
        confidence: Between 0 and 1.
    """
    from scipy import stats

    expanded = math.sqrt(count / (count - 1)) * stats.t.ppf((1 - confidence) / 2, count - 1)
    tail = stats.norm.cdf(expanded)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def chance_of(
    gain: Callable[[Index, Index], float], draw: Drawing, resamples: int = RESAMPLES
) -> float:
    """How likely so large a gain is, either way, where the two were swapped at random."""
    from scipy import stats

    index = np.arange(draw.count)
    found = stats.permutation_test(
        (index, index + draw.count), lambda first, second: gain(draw(first), draw(second)),
        permutation_type="samples", vectorized=False, n_resamples=resamples,
        batch=max(1, DRAWN_AT_ONCE // draw.rows), rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.pvalue)


def metric_interval(
    problem: Problem,
    metric: str,
    truth: NDArray[Any],
    predictions: NDArray[np.floating],
    *,
    classes: Sequence[str] = (),
    confidence: float = 0.95,
    clusters: NDArray[np.int64] | None = None,
    rows_at_most: int = ROWS_AT_MOST,
    resamples: int = RESAMPLES,
) -> tuple[float, float] | None:
    """The interval of a metric of some rows.

    For the accuracy of classes over rows that stand alone it is Wilson's
    (https://doi.org/10.1080/01621459.1927.10502953); for all others the bootstrap over rows or
    clusters. Where resampling a few rows is too sure, it reaches to 3 of them on either side
    (Hanley and Lippman-Hand, https://doi.org/10.1001/jama.1983.03330370053031).

    Where there are more rows than are resampled, as many, evenly spaced, are; and where each stands
    alone their interval is narrowed to what all of them tell, by the square root of the share (the
    m out of n bootstrap, Bickel, Götze and van Zwet, 1997, https://www.jstor.org/stable/24306081).

    Args:
        problem: What is predicted.
        metric: One of the problem's metrics.
        truth: As `tasks.metrics.measure` takes it, of n rows.
        predictions: As `tasks.outputs` describes them.
        classes: The labels in the order of their indices; only for the tags of words.
        confidence: Of the interval, between 0 and 1.
        clusters: Which cluster each row is in, [n]; None where each stands alone.
        rows_at_most: How many rows are resampled.
        resamples: How often is drawn.

    Returns:
        Lower and upper end. None where the metric is undefined, or there are too few rows, in all
        or of a class.
    """
    rows = len(truth)
    if rows and problem == "classification" and metric == "accuracy" and clusters is None:
        return wilson(int(np.sum(predictions.argmax(axis=1) == truth)), rows, confidence)
    some = evenly_spaced(rows, rows_at_most)
    score = scorer(problem, metric, truth[some], predictions[some], None, classes)
    draw = Drawing(len(some), None if clusters is None else clusters[some])
    ends = bootstrap_interval(score, draw, confidence, resamples)
    middle = score(np.arange(len(some))) if ends else math.nan
    if ends is None or not math.isfinite(middle):
        return None
    if len(some) < rows:
        value = scorer(problem, metric, truth, predictions, None, classes)(np.arange(rows))
        ends = of_all_rows(ends, middle, value, len(some) / rows if clusters is None else 1.0)
        middle = value
    return _not_too_sure(problem, metric, truth, middle, ends)


def evenly_spaced(rows: int, at_most: int) -> Index:
    """Row numbers from first to last, all of them or so many."""
    return np.linspace(0, rows - 1, min(rows, at_most)).round().astype(np.int64)


def of_all_rows(
    ends: tuple[float, float], middle: float, value: float, share: float
) -> tuple[float, float]:
    """The interval of all rows from that of a share of them, around what all of them have.

    Args:
        ends: Of the share.
        middle: The figure of the share.
        value: The figure of all rows.
        share: Of the rows, where each tells something; 1 where those left out tell nothing new.
    """
    narrowed = math.sqrt(share)
    return value + (ends[0] - middle) * narrowed, value + (ends[1] - middle) * narrowed


def wilson(right: int, rows: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval of a share of rows.

    Args:
        right: Rows that count.
        rows: All rows.
        confidence: Between 0 and 1.
    """
    from scipy import stats

    found = stats.binomtest(right, rows).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def _not_too_sure(
    problem: Problem, metric: str, truth: NDArray[Any], value: float, ends: tuple[float, float]
) -> tuple[float, float]:
    """Ends that the rule of three allows, and within 0 and 1 where the metric is."""
    low, high = ends
    if metric not in WITHIN_ONE:
        return low, high
    reach = 0.0
    if metric in BY_LABEL or problem == "token_classification":
        reach = RULE_OF_THREE / len(truth)
    elif low == high:
        # every resample ranks its rows alike: how many there are of the rarest class decides
        reach = RULE_OF_THREE / int(np.unique(truth, return_counts=True)[1].min())
    return max(0.0, min(low, value - reach)), min(1.0, max(high, value + reach))
