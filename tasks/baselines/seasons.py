"""The seasonal naive forecast: what was, one season before, is what will be."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tasks.config import EvaluationConfig
from tasks.errors import ConfigError
from tasks.handoffs import Column, PreparedData, Problem
from tasks.snapshots import read_snapshot
from tasks.storage import Storage

if TYPE_CHECKING:
    import pyarrow

MICROSECONDS_PER_HOUR = 3_600_000_000


def time_column(
    dataset: str, problem: Problem, columns: Sequence[Column], preferred: object
) -> Column:
    """The column that says when a row was, for the baseline 'seasonal_naive'.

    Args:
        dataset: Name of the dataset.
        problem: What is predicted.
        columns: Its columns.
        preferred: The column that the rows are split by, if they are.

    Raises:
        ConfigError: No value is predicted, or there is no one column of times.
    """
    times = [column for column in columns if column.kind == "time"]
    named = [column for column in times if column.name == preferred]
    if problem != "regression":
        raise ConfigError(
            f"evaluation.baseline is 'seasonal_naive', and {dataset} is a problem of {problem}; it "
            "needs values to predict. Use --set evaluation.baseline=linear."
        )
    if len(named or times) != 1:
        raise ConfigError(
            f"evaluation.baseline is 'seasonal_naive', and {dataset} has {len(times)} columns of "
            "times; it needs one, or split.column to name one. Use --set "
            "evaluation.baseline=linear, or give a column the kind 'time' in "
            f"tasks/datasets/{dataset}.py."
        )
    return (named or times)[0]


def seasonal_predictions(
    config: EvaluationConfig, prepared: PreparedData, storage: Storage
) -> NDArray[np.float64]:
    """The seasonal naive forecast of the test rows, see `seasonal_naive`.

    It may look at every labelled row of the snapshot that is at least one season older than the row
    it predicts, whichever side of the split that is on: by then its value is known.

    Args:
        config: Gives the length of a season.
        prepared: The rows.
        storage: Where they are.

    Raises:
        ConfigError: As in `time_column`.
    """
    snapshot = prepared.snapshot
    preferred = prepared.split.get("column")
    column = time_column(snapshot.dataset, snapshot.problem, snapshot.columns, preferred)
    label = snapshot.label.name
    table = read_snapshot(storage, snapshot, [column.name, label])
    table = table.filter(_known(table, column.name, label))
    tested = storage.array(prepared.test.rows)
    wanted = read_snapshot(storage, snapshot, [column.name]).take(tested)
    learnt = storage.array(prepared.train.labels, is_mapped=True)
    return seasonal_naive(
        _microseconds(table, column.name),
        table[label].to_numpy().astype(np.float64),
        _microseconds(wanted, column.name),
        season=round(config.season_hours * MICROSECONDS_PER_HOUR),
        otherwise=float(np.mean(learnt, dtype=np.float64)),
    )


def seasonal_naive(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    wanted: NDArray[np.int64],
    *,
    season: int,
    otherwise: float,
) -> NDArray[np.float64]:
    """For each wanted time the value one season before; where there is none, two, and so on.

    The forecast of Hyndman and Athanasopoulos, Forecasting: Principles and Practice, section 5.2.

    Args:
        times: When each known value was, [rows]; of several at one time, their mean counts.
        values: The known values, [rows].
        wanted: When the values are that are to be predicted, [wanted].
        season: Length of a season, in the unit of the times.
        otherwise: What is predicted where no earlier season has a value.

    Returns:
        float64 [wanted].
    """
    found = np.full(len(wanted), otherwise)
    if not len(times) or not len(wanted):
        return found
    known, place = np.unique(times, return_inverse=True)
    means = np.bincount(place, values) / np.bincount(place)
    missing = np.arange(len(wanted))
    for seasons in range(1, 1 + math.ceil((wanted.max() - known[0]) / season)):
        earlier = wanted[missing] - seasons * season
        nearest = np.searchsorted(known, earlier).clip(max=len(known) - 1)
        there = known[nearest] == earlier
        found[missing[there]] = means[nearest[there]]
        missing = missing[~there]
    return found


def _known(table: "pyarrow.Table", *names: str) -> "pyarrow.ChunkedArray":
    import pyarrow.compute as pc

    first, second = (table[name].is_valid() for name in names)
    return pc.and_(first, second)


def _microseconds(table: "pyarrow.Table", name: str) -> NDArray[np.int64]:
    import pyarrow as pa

    # a row without a time is older than all seasons
    times: NDArray[np.int64] = table[name].cast(pa.int64()).fill_null(0).to_numpy()
    return times
