from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from tasks.columns import arrow_type
from tasks.config import GateConfig, IngestionConfig, PipelineConfig, SliceConfig
from tasks.errors import ConfigError
from tasks.handoffs import Column
from tasks.membership import SlicedColumn, partition, require_slices, sliced_columns

COLUMNS = (
    Column(name="id", role="identifier", kind="category", personal=True),
    Column(name="age", role="feature", kind="numeric", integer=True),
    Column(name="pay", role="feature", kind="numeric"),
    Column(name="sex", role="ignored", kind="category"),
    Column(name="a=b", role="ignored", kind="category"),
    Column(name="photo", role="feature", kind="image", shape=(2, 2, 1)),
    Column(name="note", role="feature", kind="text"),
    Column(name="since", role="ignored", kind="time"),
    Column(name="left", role="label", kind="category"),
)


def column(name, **changed):
    return next(c for c in COLUMNS if c.name == name).model_copy(update=changed)


def sliced(values, name, edges=(), least_rows=2, **changed):
    """Per name of a slice, the numbers of its rows."""
    asked = column(name, **changed)
    array = pa.chunked_array([pa.array(values, arrow_type(asked))])
    found = partition(array, SlicedColumn(asked, edges, sensitive=False), least_rows)
    assert found.codes.dtype == np.int32
    rows = {value: np.flatnonzero(found.codes == n).tolist() for n, value in enumerate(found.names)}
    assert sorted(row for chosen in rows.values() for row in chosen) == list(range(len(values)))
    return rows, found.groups


def test_categories_are_slices_the_largest_first_and_blanks_are_one_of_their_own():
    rows, groups = sliced(["b", None, "a", "b"], "sex")
    assert rows == {"b": [0, 3], "a": [2], "(blank)": [1]}
    assert groups == 2


def test_of_many_values_the_rare_ones_are_one_slice():
    values = [*"aaabb", *(f"rare {n}" for n in range(20))]
    rows, groups = sliced(values, "sex")
    assert list(rows) == ["a", "b", "(20 other values)"]
    assert (len(rows["(20 other values)"]), groups) == (20, 2)
    large, _ = sliced([f"value {n % 30}" for n in range(90)], "sex")
    assert len(large) == 12
    assert "(19 other values)" in large


def test_numbers_are_sliced_by_quartiles():
    rows, _ = sliced([*range(20, 60), None], "age")
    assert list(rows) == ["below 30", "30 to below 40", "40 to below 50", "50 or more", "(blank)"]
    assert [len(chosen) for chosen in rows.values()] == [10, 10, 10, 10, 1]


def test_edges_begin_the_ranges_and_empty_ranges_are_left_out():
    rows, _ = sliced([24, 25, 39, 40, 70], "age", (25.0, 40.0, 80.0))
    assert rows == {"below 25": [0], "25 to below 40": [1, 2], "40 to below 80": [3, 4]}


def test_few_numbers_are_slices_by_value():
    assert list(sliced([0, 1, 1, 0, 1], "age")[0]) == ["0", "1"]
    assert list(sliced([7.5] * 9, "pay")[0]) == ["7.5"]


def test_edges_that_are_near_each_other_are_told_apart():
    names = list(sliced(np.linspace(1, 1.0001, 100), "pay")[0])
    assert len(set(names)) == len(names) == 4


def test_a_text_is_sliced_by_its_number_of_words():
    rows, _ = sliced(["one", "two words", "now three words", ""], "note", (2.0, 3.0))
    assert rows == {
        "below 2 words": [0, 3], "2 to below 3 words": [1], "3 words or more": [2],
    }  # fmt: skip


def test_times_are_sliced_by_quartiles_of_days():
    days = [datetime(2026, month, 1, tzinfo=UTC).replace(tzinfo=None) for month in range(1, 9)]
    names = list(sliced(days, "since")[0])
    assert names[0] == "below 2026-03-01"
    assert names[-1] == "from 2026-07-01"


def test_no_value_of_a_personal_column_is_in_a_name():
    assert list(sliced(["Zoë", "Ada", "Zoë"], "sex", personal=True)[0]) == ["group 1", "group 2"]
    ages = list(sliced(range(20, 60), "age", personal=True)[0])
    assert ages == [f"range {n} of 4" for n in range(1, 5)]
    # what whoever configures it wrote down is no secret
    assert "below 25" in sliced(range(20, 60), "age", (25.0,), personal=True)[0]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("agee", r"slices.columns names the column 'agee', which there is not. Did you mean 'age'"),
        ("id", "'id', which tells single rows or is an image. Expected some of age, pay, sex"),
        ("photo", "'photo', which tells single rows or is an image"),
        ("agee=3", "names the column 'agee'"),
        ("sex=1,2", "'sex=1,2'; expected no edges, as it is of kind category: 'sex' alone"),
        ("age=40,25", "'age=40,25'; expected ascending numbers, such as 'age=25,40,65'"),
        ("age=", "expected ascending numbers"),
        ("age=young", "expected ascending numbers"),
        ("age=nan", "expected ascending numbers"),
    ],
)
def test_what_cannot_be_sliced_is_refused(asked, sentence):
    with pytest.raises(ConfigError, match=sentence):
        sliced_columns(SliceConfig(columns=(asked,)), COLUMNS)


def test_a_column_is_sliced_once_whoever_asks_for_it():
    config = SliceConfig(columns=("age=25,40", "a=b"), sensitive=("sex", "age"))
    found = [(s.column.name, s.edges, s.sensitive) for s in sliced_columns(config, COLUMNS)]
    assert found == [("age", (25, 40), True), ("a=b", (), False), ("sex", (), True)]
    with pytest.raises(ConfigError, match="'age' with two sets of edges"):
        sliced_columns(SliceConfig(columns=("age=25",), sensitive=("age=30",)), COLUMNS)


def pipeline(slices, **gate):
    return PipelineConfig(
        pipeline="trial", ingestion=IngestionConfig(dataset="trial"), slices=SliceConfig(**slices),
        gate=GateConfig(**gate),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("slices", "gate", "problem", "sentence"),
    [
        ({"sensitive": ("race",)}, {}, "classification", "slices.sensitive names .* 'race', which"),
        ({"sensitive": ("left",)}, {}, "classification", "the label itself"),
        ({"sensitive": ("sex",)}, {}, "text_generation", "slices.sensitive is set for text_gen"),
        ({}, {"slice_loss": 0.02}, "classification", "gate.slice_loss is set and there are no sli"),
        ({}, {"slice_minimum": 0.5}, "regression", "--set slices.columns=age"),
        ({"columns": ("sex",)}, {"odds_gap": 0.1}, "classification", "no column is sensitive"),
        ({"sensitive": ("sex",)}, {"parity_gap": 0.1}, "regression", "expected classification"),
    ],
)
def test_rules_that_cannot_be_judged_are_refused_before_any_work(slices, gate, problem, sentence):
    with pytest.raises(ConfigError, match=sentence):
        require_slices(pipeline(slices, **gate), problem, COLUMNS)


def test_rules_that_can_be_judged_are_accepted():
    config = pipeline({"sensitive": ("sex",)}, slice_loss=0.02, parity_gap=0.1)
    require_slices(config, "classification", COLUMNS)
