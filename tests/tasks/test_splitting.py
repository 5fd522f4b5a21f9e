import numpy as np
import pyarrow as pa
import pytest

from tasks.config import SplitConfig
from tasks.errors import ConfigError, DataError
from tasks.handoffs import Column
from tasks.splitting import (
    LEFT_OUT,
    TEST,
    TRAIN,
    assign_sides,
    count_duplicates,
    limit_training_rows,
    side_warnings,
)

SIZE = Column(name="size", role="feature", kind="numeric")
LABEL = Column(name="label", role="label", kind="category")
CUSTOMER = Column(name="customer", role="identifier", kind="text")
SHOP = Column(name="shop", role="ignored", kind="category")
DAY = Column(name="day", role="ignored", kind="time")
PART = Column(name="part", role="part", kind="category")
COLUMNS = (SIZE, LABEL, CUSTOMER, SHOP, DAY)
CLASSES = ("no", "yes")


@pytest.fixture
def table():
    numbers = np.arange(2000)
    return pa.table({
        "size": numbers % 500 / 7,
        "label": [CLASSES[number % 2] for number in numbers],
        "customer": [f"c{number}" for number in numbers],
        "shop": [f"s{number % 100}" if number % 10 else None for number in numbers],
        "day": pa.array(numbers // 10 * 86_400_000_000, pa.timestamp("us")),
    })  # fmt: skip


def test_shares_are_near_those_asked_for(table):
    shares = np.bincount(assign_sides(table, COLUMNS, SplitConfig())) / table.num_rows
    assert np.allclose(shares, [0.7, 0.15, 0.15], atol=0.03)


@pytest.mark.parametrize("strategy", [{}, {"strategy": "group", "column": "shop"}])
def test_no_row_changes_side_as_data_grows(table, strategy):
    config = SplitConfig(**strategy)
    some, everything = (assign_sides(rows, COLUMNS, config) for rows in (table[500:900], table))
    assert np.array_equal(some, everything[500:900])


def test_a_corrected_label_moves_no_row(table):
    for columns in (COLUMNS, (SIZE, LABEL)):
        mended = table.set_column(1, "label", pa.array(["yes"] * table.num_rows))
        sides = assign_sides(table, columns, SplitConfig())
        assert np.array_equal(sides, assign_sides(mended, columns, SplitConfig()))


def test_rows_alike_stay_together_where_there_is_no_identifier(table):
    sides = assign_sides(table, (SIZE, LABEL), SplitConfig())
    assert np.array_equal(sides[:500], sides[500:1000])
    assert count_duplicates(table, (SIZE, LABEL), sides) == 0


def test_another_seed_is_another_split(table):
    first, second = (assign_sides(table, COLUMNS, SplitConfig(seed=seed)) for seed in (0, 1))
    assert 0.3 < np.mean(first != second) < 0.6


def test_a_group_is_on_one_side_and_blank_groups_are_spread(table):
    sides = assign_sides(table, COLUMNS, SplitConfig(strategy="group", column="shop"))
    shops = np.array(table["shop"].to_pylist(), object)
    assert all(len(set(sides[shops == shop])) == 1 for shop in ("s1", "s2", "s99"))
    assert set(sides[np.equal(shops, None)]) == {0, 1, 2}


def test_the_newest_rows_test_and_a_day_is_on_one_side(table):
    sides = assign_sides(table[::-1], COLUMNS, SplitConfig(strategy="time", column="day"))[::-1]
    assert np.all(np.diff(sides) >= 0)
    assert np.bincount(sides).tolist() == [1400, 300, 300]
    assert all(len(set(day)) == 1 for day in sides.reshape(-1, 10))


def test_a_published_test_set_is_respected(table):
    columns = (SIZE, LABEL, PART)
    parts = table.append_column("part", pa.array(["train"] * 1500 + ["test"] * 500))
    sides = assign_sides(parts, columns, SplitConfig(validation=0.2, test=0.4))
    assert np.all(sides[1500:] == 2)
    assert set(sides[:1500]) == {0, 1}
    assert abs(np.mean(sides[:1500] == 1) - 0.2) < 0.05


def test_the_newest_of_the_training_part_validate(table):
    parts = table.append_column("part", pa.array(["test"] * 500 + ["train"] * 1500))
    config = SplitConfig(strategy="time", column="day", validation=0.2)
    sides = assign_sides(parts, (*COLUMNS, PART), config)
    assert np.bincount(sides).tolist() == [1200, 300, 500]
    assert np.all(sides[-300:] == 1)


@pytest.mark.parametrize("value", ["dev", None])
def test_an_unknown_part_is_refused(table, value):
    parts = table.append_column("part", pa.array([value] * 2000, pa.string()))
    with pytest.raises(DataError, match=f"'part' has '?{value}'?; expected 'train' or 'test'"):
        assign_sides(parts, (*COLUMNS, PART), SplitConfig())


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"column": "shop"}, "which the strategy 'hash' does not use"),
        ({"strategy": "group"}, "'group' needs a column. Set split.column to one of size, label"),
        ({"strategy": "group", "column": "x"}, "'x', and the dataset has no such column"),
        ({"strategy": "group", "column": "label"}, "'label', the label"),
        ({"strategy": "time", "column": "shop"}, "of kind category; the strategy 'time' needs"),
    ],
)
def test_a_split_column_that_cannot_serve_is_refused(table, config, sentence):
    with pytest.raises(ConfigError, match=sentence):
        assign_sides(table, COLUMNS, SplitConfig(**config))


def test_blank_times_are_refused(table):
    blank = table.set_column(4, "day", pa.nulls(2000, pa.timestamp("us")))
    with pytest.raises(DataError, match="'day' is blank in 2,000 rows"):
        assign_sides(blank, COLUMNS, SplitConfig(strategy="time", column="day"))


def test_twins_on_other_sides_are_counted():
    table = pa.table({"size": [1.0, 1.0, 1.0, 2.0, 2.0], "label": ["yes", "yes", "no", "no", "no"]})
    assert count_duplicates(table, (SIZE, LABEL), np.array([0, 2, 1, 0, 0], np.int8)) == 2
    assert count_duplicates(table[:0], (SIZE, LABEL), np.array([], np.int8)) == 0


def test_an_even_spread_gives_no_warning():
    labels = np.tile([0, 1], 500)
    sides = np.repeat([0, 0, 0, 1, 2], 200)
    assert side_warnings(sides, labels, CLASSES) == ()


def test_a_spread_that_chance_would_hardly_give_is_reported():
    labels = np.tile([0, 1], 500)
    labels[800:980] = 1
    warnings = side_warnings(np.repeat([0, 0, 0, 1, 2], 200), labels, CLASSES)
    assert any("'no' has 5.0% of the test rows and 41.0% of all" in text for text in warnings)


def test_a_label_without_validation_rows_is_reported():
    labels = np.array([0, 1] * 20 + [0] * 2 + [0, 1] * 20)
    sides = np.repeat([0, 1, 2], [40, 2, 40])
    assert "No validation row has the label 'yes'." in side_warnings(sides, labels, CLASSES)


@pytest.mark.parametrize(("side", "name"), [(0, "train"), (2, "test")])
def test_a_label_that_cannot_be_learnt_or_judged_is_refused(side, name):
    labels, sides = np.tile([0, 1], 30), np.repeat([0, 1, 2], 20)
    labels[sides == side] = 0
    with pytest.raises(DataError, match=f"None of the 20 {name} rows has the label 'yes'"):
        side_warnings(sides, labels, CLASSES)


def test_so_many_training_rows_of_each_label_are_kept_and_all_others_tested(table):
    config = SplitConfig(training_rows_per_label=30)
    sides = assign_sides(table, COLUMNS, config)
    limited = limit_training_rows(table, COLUMNS, sides, config)
    labels = np.array(table["label"].to_pylist())
    assert [np.sum((limited == TRAIN) & (labels == label)) for label in CLASSES] == [30, 30]
    assert np.array_equal(limited[sides != TRAIN], sides[sides != TRAIN])
    assert np.all(limited[(sides == TRAIN) & (limited != TRAIN)] == LEFT_OUT)


def test_the_training_rows_that_are_kept_stay_as_labels_have_fewer_or_others(table):
    few = SplitConfig(training_rows_per_label=30)
    sides = assign_sides(table, COLUMNS, few)
    more = limit_training_rows(table, COLUMNS, sides, SplitConfig(training_rows_per_label=60))
    assert np.all(more[limit_training_rows(table, COLUMNS, sides, few) == TRAIN] == TRAIN)
    other = limit_training_rows(
        table, COLUMNS, sides, SplitConfig(training_rows_per_label=30, seed=1)
    )
    assert not np.array_equal(other, limit_training_rows(table, COLUMNS, sides, few))
    everything = SplitConfig(training_rows_per_label=5_000)
    assert np.array_equal(limit_training_rows(table, COLUMNS, sides, everything), sides)


def test_training_rows_are_counted_by_labels_only_where_there_are_any(table):
    columns = (SIZE.model_copy(update={"role": "label"}), CUSTOMER)
    config = SplitConfig(training_rows_per_label=30)
    sides = assign_sides(table, columns, config)
    with pytest.raises(ConfigError, match="label is of kind numeric"):
        limit_training_rows(table, columns, sides, config)


def test_rows_that_are_left_out_are_nobodys_twins(table):
    sides = np.full(table.num_rows, LEFT_OUT, np.int8)
    sides[:500] = TRAIN
    assert count_duplicates(table, (SIZE, LABEL), sides) == 0
    sides[500:1000] = TEST
    assert count_duplicates(table, (SIZE, LABEL), sides) == 1000
