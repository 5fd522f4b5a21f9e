"""Which columns of a table a model needs, as a whole and for one row.

What is shuffled and exchanged is a column of the source, with all inputs that were made of it, so
the figures speak of columns. The model is only asked, so networks and trees are treated alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tasks.appraisal import Importance
from tasks.metrics import HIGHER_IS_BETTER, figure

# of inputs that are made at once, float32: 32 MiB
NUMBERS_AT_ONCE = 2**23
Groups = Mapping[str, tuple[int, ...]]
Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Scored:
    """Rows, and how predictions for them are scored.

    Args:
        problem: What is predicted.
        metric: Name of the metric.
        inputs: float32 [rows, width].
        truth: Class indices or targets [rows].
    """

    problem: Literal["classification", "regression"]
    metric: str
    inputs: NDArray[np.float32]
    truth: NDArray[Any]

    def score(self, predictions: NDArray[np.float32]) -> float:
        """The metric, turned round where less is better; NaN where these rows leave it undefined.

        Args:
            predictions: For all of the rows, as `tasks.outputs` describes them.
        """
        value = figure(self.problem, self.metric, self.truth, predictions)
        return value if HIGHER_IS_BETTER[self.metric] else -value


def column_groups(fitted: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Per column of the source, the places of a row of inputs that are made of it.

    Args:
        fitted: From `tasks.features.fit`.
    """
    groups: dict[str, tuple[int, ...]] = {}
    start = 0
    for entry in (*fitted["numeric"], *fitted["category"]):
        if "vocabulary" in entry:
            width = 1 if "codes" in fitted else 1 + len(entry["vocabulary"])
        else:
            width = 1 + entry["indicator"]
        groups[entry["name"]] = tuple(range(start, start + width))
        start += width
    return groups


def permutation_importances(
    predict: Predict, rows: Scored, groups: Groups, repeats: int, seed: int = 0
) -> tuple[Importance, ...]:
    """What the score loses when a column is shuffled among the rows, the largest loss first.

    Breiman, 2001 (https://doi.org/10.1023/A:1010933404324), by scikit-learn's own function. It is
    given the number of the row that each column is taken from, and shuffles these.

    Args:
        predict: From inputs to predictions.
        rows: What is predicted and scored.
        groups: From `column_groups`.
        repeats: How often each column is shuffled.
        seed: Of the shuffling.

    Returns:
        An importance for each column; none where the metric is undefined on these rows.
    """
    from sklearn.inspection import permutation_importance

    if not groups or np.isnan(rows.score(predict(rows.inputs))):
        return ()
    taken_from = np.tile(np.arange(len(rows.inputs))[:, None], (1, len(groups)))

    def score(_: object, taken: NDArray[np.int64], truth: NDArray[Any]) -> float:
        return rows.score(predict(_gathered(rows.inputs, taken, groups)))

    found = permutation_importance(
        _Fitted(), taken_from, rows.truth, scoring=score, n_repeats=repeats, random_state=seed
    )
    importances = [
        Importance(column=name, mean=float(mean), deviation=float(deviation))
        for name, mean, deviation in zip(
            groups, found.importances_mean, found.importances_std, strict=True
        )
    ]
    return tuple(sorted(importances, key=lambda importance: -importance.mean))


def shapley_values(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    row: NDArray[np.float32],
    background: NDArray[np.float32],
    groups: Groups,
    seed: int = 0,
) -> tuple[NDArray[np.float64], float, float]:
    """What each column of a row adds to an output, against rows that it is compared with.

    Sampled Shapley values (Strumbelj and Kononenko, 2014,
    https://doi.org/10.1007/s10115-013-0679-x): the columns of another row are replaced by those of
    this one, one after the other in a random order, and each is credited with the change. Every
    second order is the one before turned round (Mitchell et al., 2022, arXiv:2104.12199), which
    halves the noise. The sum is the difference of the outputs, exactly.

    Args:
        predict: From inputs [any, width] to one output each, [any].
        row: float32 [width].
        background: Rows that it is compared with, one order of columns for each, [draws, width].
        groups: From `column_groups`.
        seed: Of the orders.

    Returns:
        A value for each column, float64 [columns]; the mean output of the background; and the
        output of the row.
    """
    random, columns = np.random.default_rng(seed), list(groups.values())
    orders = [random.permutation(len(columns)) for _ in range(-(-len(background) // 2))]
    orders = [turn for order in orders for turn in (order, order[::-1])][: len(background)]
    values, starts, ends = np.zeros(len(columns)), [], []
    size = max(1, NUMBERS_AT_ONCE // ((len(columns) + 1) * max(len(row), 1)))
    for first in range(0, len(background), size):
        paths = [
            _path(row, other, order, columns)
            for other, order in zip(
                background[first : first + size], orders[first : first + size], strict=True
            )
        ]
        outputs = predict(np.concatenate(paths)).astype(np.float64).reshape(len(paths), -1)
        for order, found in zip(orders[first : first + size], outputs, strict=True):
            values[order] += np.diff(found)
        starts += outputs[:, 0].tolist()
        ends += outputs[:, -1].tolist()
    return values / len(background), float(np.mean(starts)), float(np.mean(ends))


class _Fitted:
    """What scikit-learn takes for an estimator; it only asks whether there is a `fit`."""

    def fit(self) -> None:
        """Does nothing: the model is trained."""


def _gathered(
    inputs: NDArray[np.float32], taken: NDArray[np.int64], groups: Groups
) -> NDArray[np.float32]:
    """Rows whose columns are each taken from the row that is named, float32 [rows, width]."""
    found = inputs.copy()
    for place, group in enumerate(groups.values()):
        rows = taken[:, place]
        if not np.array_equal(rows, np.arange(len(rows))):
            found[:, group] = inputs[rows[:, None], list(group)]
    return found


def _path(
    row: NDArray[np.float32],
    other: NDArray[np.float32],
    order: NDArray[np.int64],
    columns: Sequence[tuple[int, ...]],
) -> NDArray[np.float32]:
    """From another row to this one, a column at a time, float32 [columns + 1, width]."""
    path = np.tile(other, (len(columns) + 1, 1))
    for step, column in enumerate(order, start=1):
        group = list(columns[column])
        path[step:, group] = row[group]
    return path
