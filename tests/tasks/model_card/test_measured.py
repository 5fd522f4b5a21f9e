import datetime

import numpy as np
import pyarrow as pa
import pytest

from tasks.handoffs import Column
from tasks.model_card.measured import class_figures, movement_since, period_of
from tasks.storage import Storage


@pytest.fixture
def prepare_days(prepare_rows):
    """Customers who came on days of a month; `offset` moves their age."""

    def make(offset=0.0, share=0.5, personal=False):
        rows = 200
        columns = (
            Column(name="came", role="identifier", kind="time", personal=personal),
            Column(name="age", role="feature", kind="numeric"),
            Column(name="left", role="label", kind="category"),
        )
        first = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        came = [first + datetime.timedelta(hours=3 * row) for row in range(rows)]
        age = np.random.default_rng(0).normal(40 + offset, 10, rows)
        left = ["Yes" if row < share * rows else "No" for row in range(rows)]
        arrays = [pa.array(came, pa.timestamp("us", "UTC")), pa.array(age), pa.array(left)]
        return prepare_rows(columns, [arrays[0].cast(pa.timestamp("us")), *arrays[1:]])

    return make


def test_the_period_is_that_of_the_column_of_times(context, prepare_days):
    storage = Storage(context.storage_uri)
    found = period_of(storage, prepare_days().snapshot)
    assert found == ("came", "2026-01-01", "2026-01-25")
    assert period_of(storage, prepare_days(personal=True).snapshot) is None


def test_data_that_moved_are_found_to_have(context, prepare_days):
    storage = Storage(context.storage_uri)
    now, then = prepare_days(offset=5, share=0.6).snapshot, prepare_days().snapshot
    moved = movement_since(storage, now, 3, then)
    assert [shift.column for shift in moved.shifts] == ["left", "age"]
    assert moved.shifts[0].measure == pytest.approx(0.1)
    assert moved.shifts[1].measure == pytest.approx(0.5, abs=0.1)
    assert (moved.version, moved.rows, moved.same) == (3, 200, False)
    assert movement_since(storage, now, 3, now).same


def test_a_column_that_was_treated_otherwise_has_not_moved(context, prepare_days):
    now, then = prepare_days(offset=5, share=0.6).snapshot, prepare_days().snapshot
    columns = tuple(
        column.model_copy(update={"protection": "generalise", "range_width": 10.0})
        if column.name == "age"
        else column
        for column in then.columns
    )
    moved = movement_since(
        Storage(context.storage_uri), now, 3, then.model_copy(update={"columns": columns})
    )
    assert [shift.column for shift in moved.shifts] == ["left"]


def test_data_that_are_gone_are_not_compared(context, prepare_days):
    storage = Storage(context.storage_uri)
    now, then = prepare_days(offset=5).snapshot, prepare_days().snapshot
    storage.path(then.file).unlink()
    assert movement_since(storage, now, 3, then) is None


def test_each_class_has_its_recall(context, prepare_table, release):
    made = release(prepare_table())
    storage = Storage(context.storage_uri)
    figures = class_figures(storage, made.prepared, made.evaluation)
    assert [found.name for found in figures] == ["No", "Yes"]
    assert [found.test for found in figures] == list(made.prepared.test.label_counts)
    assert figures[1].recall == pytest.approx(made.evaluation.metrics["recall"])
    assert all(found.low <= found.recall <= found.high for found in figures)
