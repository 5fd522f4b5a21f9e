import json
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from tasks import unseen
from tasks.config import SplitConfig
from tasks.errors import DataError
from tasks.handoffs import Column
from tasks.splitting import TEST, assign_sides
from tasks.unseen import describe_split, described_columns, rows_tested

SIZE = Column(name="size", role="feature", kind="numeric")
AGE = Column(name="age", role="feature", kind="numeric")
LABEL = Column(name="label", role="label", kind="category")
DAY = Column(name="day", role="ignored", kind="time")
PART = Column(name="part", role="part", kind="category")
COLUMNS = (SIZE, LABEL, DAY)
BY_DAY = SplitConfig(strategy="time", column="day")


@pytest.fixture
def table():
    numbers = np.arange(1000)
    return pa.table({
        "size": numbers / 7,
        "age": numbers % 90,
        "label": ["no", "yes"] * 500,
        "day": pa.array(numbers * 86_400_000_001, pa.timestamp("us")),
        "part": ["train"] * 900 + ["test"] * 100,
    })  # fmt: skip


def described(table, columns, config):
    return describe_split(table, columns, config, assign_sides(table, columns, config))


def never_trained(table, columns, split):
    return rows_tested(table, described_columns(split, columns), split)


def test_a_description_is_flat_json(table):
    split = described(table, COLUMNS, SplitConfig(seed=3))
    assert json.loads(json.dumps(split)) == split
    assert all(value is None or isinstance(value, str | int | float) for value in split.values())
    assert json.loads(split["columns"]) == [["size", "feature", "numeric"]]
    assert (split["seed"], split["first_test_time"]) == (3, None)


def test_a_feature_more_moves_no_row_of_an_older_split(table):
    config = SplitConfig()
    sides = assign_sides(table, COLUMNS, config)
    more = (SIZE, AGE, LABEL)
    assert np.any(assign_sides(table, more, config) != sides)
    found = never_trained(table[::2], more, described(table, COLUMNS, config))
    assert np.array_equal(found, sides[::2] == TEST)


def test_a_column_that_is_gone_or_of_another_kind_is_said(table):
    split = described(table, COLUMNS, SplitConfig())
    with pytest.raises(DataError, match="by the column 'size' of kind numeric, which is gone"):
        described_columns(split, (AGE, LABEL))
    text = SIZE.model_copy(update={"kind": "category"})
    with pytest.raises(DataError, match="'size' of kind numeric, which is of kind category"):
        described_columns(split, (text, LABEL))


def test_other_code_is_said(table, monkeypatch):
    split = described(table, COLUMNS, SplitConfig())
    monkeypatch.setattr(unseen, "CODE", ("tasks.splitting",))
    with pytest.raises(DataError, match="split by other code than today's"):
        described_columns(split, COLUMNS)
    with pytest.raises(DataError, match="split by other code than today's"):
        described_columns(SplitConfig().model_dump(), COLUMNS)


def test_by_time_all_from_the_old_boundary_on_were_never_trained_on(table):
    old, sides = described(table[:600], COLUMNS, BY_DAY), assign_sides(table[:600], COLUMNS, BY_DAY)
    first = int(np.flatnonzero(sides == TEST)[0])
    found = never_trained(table, COLUMNS, old)
    assert np.flatnonzero(found).tolist() == list(range(first, 1000))
    assert datetime.fromisoformat(old["first_test_time"]) == table["day"][first].as_py()
    assert old["first_validation_time"] < old["first_test_time"]


def test_a_time_may_be_a_number_and_blank_times_are_not_trusted(table):
    split = described(table, COLUMNS, SplitConfig(strategy="time", column="size"))
    today = pa.table({"size": [1 / 7, 850 / 7, 849 / 7, None]})
    assert never_trained(today, (SIZE,), split).tolist() == [False, True, False, False]


def test_a_published_test_set_tests_whatever_the_time(table):
    split = described(table, (*COLUMNS, PART), BY_DAY)
    assert split["first_test_time"] is None
    assert np.flatnonzero(never_trained(table, (*COLUMNS, PART), split)).tolist() == list(
        range(900, 1000)
    )
