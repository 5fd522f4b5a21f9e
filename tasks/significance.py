"""Whether a model is better than another or was lucky: their predictions in, an interval out."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.handoffs import Problem
from tasks.judgement import Difference
from tasks.metrics import HIGHER_IS_BETTER
from tasks.resampling import (
    BY_LABEL,
    DEFINED_AT_LEAST,
    RESAMPLES,
    RESAMPLES_OF_TALLIES,
    ROWS_AT_MOST,
    RULE_OF_THREE,
    Drawing,
    bootstrap_interval,
    chance_of,
    evenly_spaced,
    of_all_rows,
    percentile_interval,
)
from tasks.rescoring import LABEL_METRICS, Index, scorer
from tasks.tallies import likelihood_of, tally_of

# nobody waits for more than so many times the rows there are
TIMES_AT_MOST = 1_000


def paired_difference(
    problem: Problem,
    metric: str,
    truth: NDArray[Any],
    ours: NDArray[np.floating],
    theirs: NDArray[np.floating],
    *,
    classes: Sequence[str] = (),
    confidence: float = 0.95,
    clusters: NDArray[np.int64] | None = None,
    rows_at_most: int = ROWS_AT_MOST,
    resamples: int | None = None,
) -> Difference | None:
    """By how much a model is better than another on the same rows, and how sure that is.

    The interval is the percentile bootstrap over rows, in which both models are always given the
    same rows (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), expanded
    as Hesterberg does where there are few (https://doi.org/10.1080/00031305.2015.1089789). Where
    few rows differ it would be too narrow, so for the accuracy of classes it is at least as wide as
    that of Agresti and Min (https://doi.org/10.1002/sim.1781), and for other metrics of labels
    reaches to 3 of the rows on either side (Hanley and Lippman-Hand,
    https://doi.org/10.1001/jama.1983.03330370053031). That there is no difference is tested for the
    accuracy by the exact test of McNemar (https://doi.org/10.1007/BF02295996), for all others by
    swapping the predictions of the two at random, row by row.

    Rows of one cluster, such as hours of one day, are drawn, or swapped, all together (Field and
    Welsh, https://doi.org/10.1111/j.1467-9868.2007.00593.x); without clusters rows count as
    independent of each other. The same arguments give the same answer.

    Args:
        problem: What is predicted.
        metric: One of the problem's metrics.
        truth: As `tasks.metrics.measure` takes it, of n rows.
        ours: Predictions of the model that is judged, as `tasks.outputs` describes them.
        theirs: Those of the other model, for the same rows.
        classes: The labels in the order of their indices; only for the tags of words.
        confidence: Of the interval, between 0 and 1.
        clusters: Which cluster each row is in, [n]; None where each stands alone.
        rows_at_most: Of more rows as many, evenly spaced, are drawn, as in
            `tasks.resampling.metric_interval`; the test is then that of a normal distribution with
            this interval, but for the accuracy's, which counts all rows.
        resamples: How often is drawn, and swapped. Default: 1,000 times; 10,000 times where the
            metric is one of labels or a mean over rows that stand alone, as that costs little.

    Returns:
        Positive where ours is the better model, whether or not the metric is an error. None where
        the metric is undefined on these rows, or there are too few of them, in all or of a class.
    """
    rows = len(truth)
    if rows < 2:  # noqa: PLR2004  # of one row nothing can be drawn
        return None
    index = np.arange(rows)
    gain = _gain(problem, metric, truth, ours, theirs, classes)
    value = gain(index, index + rows)
    if not math.isfinite(value):
        return None
    count = None if clusters is None else len(np.unique(clusters))
    if np.array_equal(ours, theirs, equal_nan=True):
        # equal to the last bit: one model, made twice
        return Difference(
            value=0, low=0, high=0, confidence=confidence, chance=1, rows=rows, clusters=count
        )
    tally = None
    if clusters is None and (metric in LABEL_METRICS or rows <= rows_at_most):
        tally = tally_of(problem, metric, truth, ours, theirs)
    if tally is not None:
        times = resamples or RESAMPLES_OF_TALLIES
        drawn = tally.resampled(times)
        known = drawn[np.isfinite(drawn)]
        if len(known) < DEFINED_AT_LEAST * times:
            return None
        ends = percentile_interval(known, rows, confidence)
        chance = likelihood_of(value, tally.swapped(times))
    else:
        some = evenly_spaced(rows, rows_at_most)
        if len(some) < rows:
            gain = _gain(problem, metric, truth[some], ours[some], theirs[some], classes)
        draw = Drawing(len(some), None if clusters is None else clusters[some])
        found = _by_rows(gain, draw, value, rows, confidence, resamples or RESAMPLES)
        if found is None:
            return None
        ends, chance = found
    if problem == "classification" and metric == "accuracy":
        won_and_lost = disagreements(truth, ours, theirs)
        ends = _outer(ends, agresti_min(*won_and_lost, rows, confidence))
        chance = mcnemar(*won_and_lost) if clusters is None else chance
    if metric in BY_LABEL or problem == "token_classification":
        reach = RULE_OF_THREE / rows
        ends = _outer(ends, (value - reach, value + reach))
    return Difference(
        value=value, low=ends[0], high=ends[1], confidence=confidence, chance=chance, rows=rows,
        clusters=count,
    )  # fmt: skip


def _by_rows(
    gain: Callable[[Index, Index], float],
    draw: Drawing,
    value: float,
    rows: int,
    confidence: float,
    resamples: int,
) -> tuple[tuple[float, float], float] | None:
    """The interval, and how likely chance makes the gain, by going through drawn rows each time.

    Args:
        gain: Of two choices of the rows that are drawn from.
        draw: What is drawn.
        value: The gain on all rows.
        rows: How many there are in all.
        confidence: Of the interval.
        resamples: How often is drawn, and swapped.
    """
    index = np.arange(draw.rows)
    middle = gain(index, index + draw.rows)
    ends = bootstrap_interval(
        lambda chosen: gain(chosen, chosen + draw.rows), draw, confidence, resamples
    )
    if ends is None or not math.isfinite(middle):
        return None
    stand_alone = draw.count == draw.rows
    ends = of_all_rows(ends, middle, value, draw.rows / rows if stand_alone else 1.0)
    if draw.rows < rows:
        return ends, _normal_chance(value, ends, confidence)
    return ends, chance_of(gain, draw, resamples)


def _gain(
    problem: Problem,
    metric: str,
    truth: NDArray[Any],
    ours: NDArray[np.floating],
    theirs: NDArray[np.floating],
    classes: Sequence[str],
) -> Callable[[Index, Index], float]:
    """By how much one choice of predictions is better than another."""
    score = scorer(problem, metric, truth, ours, theirs, classes)
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    return lambda first, second: sign * (score(first) - score(second))


def _normal_chance(value: float, ends: tuple[float, float], confidence: float) -> float:
    """How likely so large a value is by chance, as normal as an interval has it; two-sided."""
    from scipy import stats

    error = (ends[1] - ends[0]) / 2 / stats.norm.isf((1 - confidence) / 2)
    return float(2 * stats.norm.sf(abs(value) / error)) if error else float(not value)


def _outer(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], other[0]), max(one[1], other[1])


def disagreements(
    labels: NDArray[Any], ours: NDArray[np.floating], theirs: NDArray[np.floating]
) -> tuple[int, int]:
    """The rows that only the first of two classifiers has right, and those that only the other has.

    Args:
        labels: Class indices [rows].
        ours: Probabilities of one, [rows, classes].
        theirs: Of the other.
    """
    right, others = (found.argmax(axis=1) == labels for found in (ours, theirs))
    return int(np.sum(right & ~others)), int(np.sum(others & ~right))


def mcnemar(won: int, lost: int) -> float:
    """The exact probability that two equal classifiers disagree so one-sidedly, two-sided."""
    from scipy import stats

    return float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0


def agresti_min(won: int, lost: int, rows: int, confidence: float) -> tuple[float, float]:
    """The interval of a paired difference of shares: Wald's, with half a row more of each kind.

    Agresti and Min, Simple improved confidence intervals for comparing matched proportions, 2005
    (https://doi.org/10.1002/sim.1781).

    Args:
        won: Rows that only the first has right.
        lost: Rows that only the other has.
        rows: All rows.
        confidence: Between 0 and 1.
    """
    from scipy import stats

    more, less, count = won + 0.5, lost + 0.5, rows + 2
    middle = (more - less) / count
    reach = stats.norm.isf((1 - confidence) / 2) * (
        math.sqrt(more + less - (more - less) ** 2 / count) / count
    )
    return float(middle - reach), float(middle + reach)


def why_untold(metric: str, clusters: NDArray[np.int64] | None) -> str:
    """Why there is no `paired_difference`, as the end of a sentence.

    Args:
        metric: The gate's.
        clusters: Which cluster each of the compared rows is in; None where each stands alone.
    """
    if clusters is not None and len(np.unique(clusters)) < 2:  # noqa: PLR2004  # nothing to draw from
        return (
            "all of the rows are in one group or day, which tells nothing of others; with "
            "gate.clusters=none each row counts for itself"
        )
    return f"{metric} is undefined on the rows of both, or they are too few"


def rows_to_decide(difference: Difference, bound: float) -> int | None:
    """How many rows would, as likely as not, tell on which side of a bound the true difference is.

    As an interval narrows with the square root of the rows, it is where the nearer end would reach
    the bound, if the difference stays what it is. Where the interval is on one side already and
    only chance is too likely, it is where the normal distribution would find it unlikely enough.

    Args:
        difference: On the rows there are.
        bound: Of the difference.

    Returns:
        Two digits of it; None where no number would, or none that can be had.
    """
    from scipy import stats

    away = difference.value - bound
    if not away:
        return None
    reach = difference.value - difference.low if away > 0 else difference.high - difference.value
    times = (reach / away) ** 2
    if difference.low > bound:
        needed, found = (1 - difference.confidence) / 2, difference.chance / 2
        times = (stats.norm.isf(needed) / max(stats.norm.isf(found), 1e-6)) ** 2
    if times > TIMES_AT_MOST:
        return None
    count = max(difference.rows + 1, difference.rows * times)
    digits = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return int(math.ceil(count / digits) * digits)
