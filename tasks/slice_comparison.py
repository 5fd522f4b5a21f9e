"""The model that is judged and today's champion in each slice of the rows they are compared on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.appraisal import Slices
from tasks.config import GateConfig
from tasks.handoffs import Problem
from tasks.judgement import Difference
from tasks.metrics import HIGHER_IS_BETTER
from tasks.resampling import BY_LABEL, RULE_OF_THREE, Drawing, resampled
from tasks.rescoring import Score, scorer
from tasks.rules import ComparedSlice
from tasks.significance import agresti_min, disagreements, mcnemar

# of more rows, so many are resampled: under the registry's lock there is no time for all
ROWS_AT_MOST = 5_000


@dataclass(frozen=True)
class Compared:
    """The rows that both models are judged on.

    Args:
        problem: What is predicted.
        truth: As `tasks.metrics.measure` takes it, of n rows.
        ours: Predictions of the model that is judged, as `tasks.outputs` describes them.
        theirs: Those of the champion.
        classes: The labels in the order of their indices.
        clusters: Which cluster each row is in, [n]; None where each stands alone.
    """

    problem: Problem
    truth: NDArray[Any]
    ours: NDArray[np.floating]
    theirs: NDArray[np.floating]
    classes: Sequence[str]
    clusters: NDArray[np.int64] | None

    def some(self, rows: NDArray[Any] | slice) -> "Compared":
        """Some of the rows."""
        clusters = None if self.clusters is None else self.clusters[rows]
        return replace(
            self, truth=self.truth[rows], ours=self.ours[rows], theirs=self.theirs[rows],
            clusters=clusters,
        )  # fmt: skip


def compare_slices(
    slices: Slices, members: NDArray[np.int32], compared: Compared, config: GateConfig
) -> tuple[ComparedSlice, ...]:
    """Both models' figures in each slice that has enough of these rows.

    How sure a difference is gets measured only where more is lost than is allowed, and then for all
    slices together: as one of many slices is lost by chance sooner than one of one, the confidence
    is that of Bonferroni's correction (https://doi.org/10.1080/01621459.1961.10482090).

    Args:
        slices: The slices.
        members: Their `membership`, of the compared rows alone, int32 [rows, columns].
        compared: The rows, and what both models say of them.
        config: Gives the metric, the fewest rows, the loss that is allowed, and the confidence.
    """
    found = []
    for number, column in enumerate(slices.columns):
        parts = [part for part in slices.table if part.column == column]
        for code, part in enumerate(parts):
            rows = np.flatnonzero(members[:, number] == code)
            if len(rows) < config.slice_rows:
                continue
            figures = _figures(compared.some(rows), config.metric)
            if all(map(math.isfinite, figures)):
                found.append((ComparedSlice(column, part.value, len(rows), *figures), rows))
    confidence = 1 - (1 - config.confidence) / max(len(found), 1)
    return tuple(
        replace(part, difference=_difference(compared.some(rows), config.metric, confidence))
        if _gain(config.metric, part.challenger, part.champion) < -(config.slice_loss or 0.0)
        else part
        for part, rows in found
    )


def _figures(compared: Compared, metric: str) -> tuple[float, float]:
    score, index = _score(compared, metric), np.arange(len(compared.truth))
    return score(index), score(index + len(index))


def _score(compared: Compared, metric: str) -> Score:
    return scorer(
        compared.problem, metric, compared.truth, compared.ours, compared.theirs, compared.classes
    )


def _gain(metric: str, ours: float, theirs: float) -> float:
    return ours - theirs if HIGHER_IS_BETTER[metric] else theirs - ours


def _difference(compared: Compared, metric: str, confidence: float) -> Difference | None:
    """By how much ours is better, at a confidence for which 1,000 resamples have no ends.

    For the accuracy of classes it is the interval of Agresti and Min, as in `tasks.significance`;
    for all others, and for clusters, the normal one with the bootstrap's standard error (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, chapter 12). A slice that is one cluster is
    asked about that cluster alone, so its rows are what is drawn.
    """
    if compared.clusters is not None and len(np.unique(compared.clusters)) == 1:
        compared = replace(compared, clusters=None)
    rows, clusters = len(compared.truth), compared.clusters
    value = _gain(metric, *_figures(compared, metric))
    if compared.problem == "classification" and metric == "accuracy" and clusters is None:
        counts = disagreements(compared.truth, compared.ours, compared.theirs)
        low, high = agresti_min(*counts, rows, confidence)
        chance = mcnemar(*counts)
    else:
        error = _standard_error(compared, metric)
        if error is None:
            return None
        reach, chance = _normal(value, error, confidence)
        if metric in BY_LABEL or compared.problem == "token_classification":
            reach = max(reach, RULE_OF_THREE / rows)
        low, high = value - reach, value + reach
    return Difference(
        value=value, low=low, high=high, confidence=confidence, chance=chance, rows=rows,
        clusters=None if clusters is None else len(np.unique(clusters)),
    )  # fmt: skip


def _standard_error(compared: Compared, metric: str) -> float | None:
    """Of the difference, by the bootstrap; None where most resamples are undefined."""
    step = -(-len(compared.truth) // ROWS_AT_MOST)
    some = compared.some(slice(None, None, step))
    rows = len(some.truth)
    score = _score(some, metric)
    drawn = resampled(
        lambda chosen: _gain(metric, score(chosen), score(chosen + rows)),
        Drawing(rows, some.clusters),
    )
    if drawn is None:
        return None
    # rows that stand alone tell the more, the more there are; of clusters some rows were left out
    share = rows / len(compared.truth) if some.clusters is None else 1.0
    return float(drawn.std()) * math.sqrt(share)


def _normal(value: float, error: float, confidence: float) -> tuple[float, float]:
    """How far the normal interval reaches, and how likely chance makes so large a value."""
    from scipy import stats

    reach = float(stats.norm.isf((1 - confidence) / 2)) * error
    return reach, float(2 * stats.norm.sf(abs(value) / error)) if error else 0.0
