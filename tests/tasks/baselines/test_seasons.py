import datetime as dt

import numpy as np
import pytest

from tasks.baselines.seasons import seasonal_naive, seasonal_predictions, time_column
from tasks.config import EvaluationConfig
from tasks.errors import ConfigError
from tasks.handoffs import Column
from tasks.storage import Storage

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None)


def forecast(times, values, wanted, season=10):
    return seasonal_naive(
        np.array(times), np.array(values, float), np.array(wanted), season=season, otherwise=-1.0
    ).tolist()


def test_the_value_one_season_before_is_predicted():
    assert forecast([0, 5, 10], [1, 2, 3], [15, 20]) == [2, 3]


def test_where_it_is_missing_earlier_seasons_are_asked_one_by_one():
    assert forecast([0, 10], [1, 2], [30, 40, 37]) == [2, 2, -1]


def test_nothing_of_the_last_season_nor_of_the_same_moment_is_looked_at():
    assert forecast([11, 19, 20], [7, 8, 9], [20]) == [-1]


def test_several_rows_of_one_moment_count_by_their_mean():
    assert forecast([5, 5, 3], [1, 2, 9], [15]) == [1.5]


def test_without_known_values_all_get_the_other_one():
    assert forecast([], [], [15]) == [-1]
    assert forecast([1], [1], []) == []


@pytest.fixture
def hours(prepare_rows):
    """200 hours of two days' rhythm, of which every 20th is missing; split by hash."""
    import pyarrow as pa

    numbers = np.array([n for n in range(200) if n % 20 != 7])
    columns = (
        Column(name="time", role="identifier", kind="time"),
        Column(name="hour", role="feature", kind="numeric"),
        Column(name="count", role="label", kind="numeric"),
    )
    times = [START + dt.timedelta(hours=int(n)) for n in numbers]
    arrays = [
        pa.array(times, pa.timestamp("us")),
        pa.array((numbers % 24).astype(float)),
        pa.array(numbers % 48 + numbers / 1000),
    ]
    return numbers, prepare_rows(columns, arrays)


def test_test_rows_get_the_value_two_days_before_from_any_side(context, hours):
    numbers, prepared = hours
    storage, config = Storage(context.storage_uri), EvaluationConfig(season_hours=48)
    found = seasonal_predictions(config, prepared, storage)
    mean = np.load(storage.path(prepared.train.labels)).mean(dtype=np.float64)
    known = set(numbers.tolist())
    expected = []
    for row in np.load(storage.path(prepared.test.rows)):
        earlier = (numbers[row] - 48 * k for k in range(1, 5))
        first = next((n for n in earlier if n in known), None)
        expected.append(mean if first is None else first % 48 + first / 1000)
    assert found == pytest.approx(expected)


TIMES = [Column(name=name, role="ignored", kind="time") for name in ("written", "sent")]


def test_data_without_times_or_without_values_are_refused():
    with pytest.raises(ConfigError, match="spam is a problem of classification"):
        time_column("spam", "classification", TIMES, "sent")
    with pytest.raises(ConfigError, match="bikes has 0 columns of times"):
        time_column("bikes", "regression", (), None)


def test_of_several_times_the_splits_column_is_taken():
    assert time_column("bikes", "regression", TIMES, "sent") == TIMES[1]
    assert time_column("bikes", "regression", TIMES[:1], None) == TIMES[0]
    with pytest.raises(ConfigError, match="2 columns of times"):
        time_column("bikes", "regression", TIMES, None)
