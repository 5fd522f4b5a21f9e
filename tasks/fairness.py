"""How alike a model treats the groups of a sensitive column: gaps with their intervals out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.appraisal import FairnessGap
from tasks.handoffs import Problem
from tasks.membership import Partition
from tasks.metrics import BINARY

# a rate of fewer rows of a class than these would be of chance alone
ROWS_OF_A_RATE = 10
RESAMPLES = 1_000
PARITY, ODDS = "demographic_parity", "equalised_odds"
# what fairlearn calls them
RATES = {
    PARITY: ("selection_rate_difference",),
    ODDS: ("true_positive_rate_difference", "false_positive_rate_difference"),
}
Rates = Callable[..., NDArray[np.float64]]


def measure_gap(
    problem: Problem,
    column: str,
    partition: Partition,
    truth: NDArray[Any],
    predictions: NDArray[np.floating],
    classes: Sequence[str],
    *,
    least_rows: int,
    confidence: float,
) -> FairnessGap:
    """How differently the groups of a sensitive column are treated.

    Of classes the gaps are those of demographic parity and equalised odds, by fairlearn: the
    difference between the largest and the smallest group's share that is given a class, and that of
    the rates of true or of false positives, whichever is larger
    (https://fairlearn.org/main/user_guide/assessment/common_fairness_metrics.html). With more than
    two classes each is taken against the rest, and the largest gap counts. Of values they are the
    differences of mean predictions and of mean absolute errors.

    The intervals are percentile bootstraps over the rows of each group, of the class in which the
    gap is largest; as a gap cannot be negative, that of groups treated alike begins above 0 too.

    Args:
        problem: `classification` or `regression`.
        column: Name of the column.
        partition: Of the rows, by the column.
        truth: Class indices [rows], or targets [rows].
        predictions: Probabilities [rows, classes], or values [rows].
        classes: Names in the order of the indices.
        least_rows: Groups with fewer rows are not compared.
        confidence: Of the intervals.
    """
    counts = np.bincount(partition.codes, minlength=len(partition.names))[: partition.groups]
    groups = np.flatnonzero(counts >= least_rows)
    if len(groups) < 2:  # noqa: PLR2004  # a gap is between two
        return FairnessGap(column=column, reason=f"fewer than two groups have {least_rows:,} rows")
    gap = FairnessGap(column=column, groups=tuple(partition.names[group] for group in groups))
    if problem == "regression":
        parts = [partition.codes == group for group in groups]
        return gap.model_copy(update=_of_values(truth, predictions, parts, confidence))
    predicted = predictions.argmax(axis=1)
    fields = _of_classes(partition.codes, truth, predicted, classes, groups, confidence)
    if few := fields.pop("few"):
        names = ", ".join(f"'{partition.names[groups[place]]}'" for place in few)
        fields.setdefault(
            "reason",
            f"fewer than {ROWS_OF_A_RATE} rows of a class, or of the rest, are in {names}, whose "
            "rate of true or of false positives is left out",
        )
    return gap.model_copy(update=fields)


def _of_values(
    targets: NDArray[Any],
    values: NDArray[np.floating],
    parts: Sequence[NDArray[np.bool_]],
    confidence: float,
) -> dict[str, Any]:
    """The fields of a gap of values.

    Args:
        targets: [rows].
        values: Predicted, [rows].
        parts: Which rows are in each group.
        confidence: Of the intervals.
    """
    random = np.random.default_rng(0)
    fields: dict[str, Any] = {"intervals": {}}
    given = values.astype(np.float64)
    for name, found in (("predictions", given), ("errors", np.abs(given - targets))):
        rows = [found[part] for part in parts]
        means = np.array([part.mean() for part in rows])
        spread = np.array([part.std() / np.sqrt(len(part)) for part in rows])
        fields[name] = float(np.ptp(means))
        # means of so many rows are normal, so they need not be drawn row by row
        drawn = random.normal(means, spread, (RESAMPLES, len(rows)))
        fields["intervals"][name] = _ends(np.ptp(drawn, axis=1), confidence)
    return fields


def _of_classes(
    codes: NDArray[np.int32],
    labels: NDArray[Any],
    predicted: NDArray[Any],
    classes: Sequence[str],
    groups: NDArray[np.int64],
    confidence: float,
) -> dict[str, Any]:
    """The fields of a gap of classes, and as `few` the groups that lack one of the rates.

    Args:
        codes: The number of each row's group, [rows].
        labels: Class indices [rows].
        predicted: Class indices [rows].
        classes: Names in the order of the indices.
        groups: Numbers of the groups that are compared.
        confidence: Of the intervals.
    """
    fields: dict[str, Any] = {"intervals": {}, "labels": {}, "few": ()}
    # of two classes, the gaps of either are those of the other
    first = 1 if len(classes) == BINARY else 0
    tables = {
        label: _tables(codes, labels == label, predicted == label, groups)
        for label in range(first, len(classes))
    }
    for name, rates in ((PARITY, _given), (ODDS, _positives)):
        gaps = {label: float(_widest(rates(table))) for label, table in tables.items()}
        known = {label: gap for label, gap in gaps.items() if np.isfinite(gap)}
        if not known:
            fields["reason"] = (
                f"fewer than two groups have {ROWS_OF_A_RATE} rows of a class and of the rest, so "
                "equalised odds are not measured"
            )
            continue
        label = max(known, key=lambda label: known[label])
        fields[name] = max(
            _fairlearn(rate, labels == label, predicted == label, codes, groups[compared])
            for rate, compared in zip(RATES[name], np.isfinite(rates(tables[label])), strict=True)
        )
        fields["intervals"][name] = _interval(tables[label], rates, confidence)
        fields["labels"][name] = classes[label]
        lacking = [~np.isfinite(rates(table)).all(axis=0) for table in tables.values()]
        fields["few"] = tuple(np.flatnonzero(np.any(lacking, axis=0)))
    return fields


def _fairlearn(
    rate: str,
    is_one: NDArray[np.bool_],
    given: NDArray[np.bool_],
    codes: NDArray[np.int32],
    groups: NDArray[np.int64],
) -> float:
    """The largest difference of a rate between groups."""
    from fairlearn import metrics

    kept = np.isin(codes, groups)
    truth, found = is_one[kept].astype(np.int64), given[kept].astype(np.int64)
    return float(getattr(metrics, rate)(truth, found, sensitive_features=codes[kept]))


def _tables(
    codes: NDArray[np.int32],
    is_one: NDArray[np.bool_],
    given: NDArray[np.bool_],
    groups: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Rows of each group by class and by what they are given, int [groups, 4]: 00, 01, 10, 11."""
    cells = 4 * codes.astype(np.int64) + 2 * is_one + given
    counted = np.bincount(cells, minlength=4 * (int(codes.max()) + 1)).reshape(-1, 4)
    found: NDArray[np.int64] = counted[groups]
    return found


def _given(tables: NDArray[np.int64], least: int = 1) -> NDArray[np.float64]:
    """The share of each group's rows that are given the class, [..., 1, groups]."""
    share = (tables[..., 1] + tables[..., 3]) / tables.sum(axis=-1)
    return np.asarray(share, np.float64)[..., None, :]


def _positives(tables: NDArray[np.int64], least: int = ROWS_OF_A_RATE) -> NDArray[np.float64]:
    """The rates of true and of false positives, [..., 2, groups]; NaN where one is of few rows."""
    ones, others = tables[..., 2] + tables[..., 3], tables[..., 0] + tables[..., 1]
    rates = np.stack(
        [tables[..., 3] / np.maximum(ones, 1), tables[..., 1] / np.maximum(others, 1)], axis=-2
    )
    return np.where(np.stack([ones, others], axis=-2) < least, np.nan, rates)


def _widest(rates: NDArray[np.float64]) -> Any:
    """The largest difference between groups of any rate, [...]; NaN where one has not two."""
    known = np.isfinite(rates)
    top = np.where(known, rates, -np.inf).max(axis=-1)
    low = np.where(known, rates, np.inf).min(axis=-1)
    return np.where(known.sum(axis=-1) > 1, top - low, np.nan).max(axis=-1)


def _interval(tables: NDArray[np.int64], rates: Rates, confidence: float) -> tuple[float, float]:
    """Of the widest gap between groups, whose rows are drawn anew, group by group."""
    random = np.random.default_rng(0)
    rows = tables.sum(axis=1)
    drawn = np.stack(
        [
            random.multinomial(count, table / count, RESAMPLES)
            for count, table in zip(rows, tables, strict=True)
        ],
        axis=1,
    )
    gaps = _widest(np.where(np.isfinite(rates(tables)), rates(drawn, 1), np.nan))
    return _ends(gaps[np.isfinite(gaps)], confidence)


def _ends(drawn: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
