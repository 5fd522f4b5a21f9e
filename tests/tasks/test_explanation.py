import json

import numpy as np
import pytest

from tasks.asking import some_rows
from tasks.config import EvaluationConfig, ExplanationConfig, GateConfig
from tasks.evaluation import evaluate_model
from tasks.evidence import evidence_of, outcome_of
from tasks.explanation import explain_model
from tasks.handoffs import Column
from tasks.storage import Storage

SMALL = ExplanationConfig(repeats=2, sample_rows=50, mistakes=2, random_rows=2, steps=8)


@pytest.fixture
def explain(context, train_quickly):
    def make(prepared, config=SMALL, metric="log_loss", trained=None):
        trained = trained or train_quickly(prepared)
        evaluation = evaluate_model.fn(context, prepared, trained, EvaluationConfig())
        gate = GateConfig(metric=metric)
        return explain_model.fn(context, prepared, trained, evaluation, config, gate)

    return make


@pytest.fixture
def prepare_people(prepare_rows):
    """Rows of a number that decides, and of a name and an age that nobody is to see."""
    import pyarrow as pa

    def make():
        columns = (
            Column(name="debts", role="feature", kind="numeric"),
            Column(name="forename", role="feature", kind="category", personal=True),
            Column(name="age", role="feature", kind="numeric", personal=True),
            Column(name="pays", role="label", kind="category"),
        )
        random = np.random.default_rng(0)
        debts = random.normal(size=200).round(2)
        arrays = [
            pa.array(debts),
            pa.array(random.choice(["Zebedee", "Philomena"], 200)),
            pa.array(random.integers(18, 90, 200) + 0.125),
            pa.array(np.where(debts > 0, "never", "always")),
        ]
        return prepare_rows(columns, arrays)

    return make


def test_a_table_has_importances_and_explained_rows(explain, prepare_table, context):
    found = explain(prepare_table())
    assert [importance.column for importance in found.importances] == ["months", "plan"]
    assert found.importances[0].mean > 0
    assert [row.chosen for row in found.rows] == ["mistake"] * 2 + ["random"] * 2
    for row in found.rows:
        assert sum(value for _, value in row.attributions) == pytest.approx(row.end - row.start)
        assert row.confidence == pytest.approx(row.end)
        assert {name.partition(" = ")[0] for name, _ in row.attributions} == {"months", "plan"}
        assert (row.truth == row.prediction) <= (row.chosen == "random")
    assert set(found.pictures) == {"importances.png", "attributions.png"}
    assert found.rows[0].picture == "attributions.png"
    assert [layer.layer.startswith("dense") for layer in found.activations] == [True]
    told = json.loads(Storage(context.storage_uri).read_bytes(found.report))
    assert told["importances"][0]["column"] == "months"


def test_the_same_model_is_explained_alike(explain, prepare_table, train_quickly):
    prepared = prepare_table()
    trained = train_quickly(prepared)
    one, other = (explain(prepared, trained=trained) for _ in range(2))
    assert one.model_copy(update={"seconds": 0.0}) == other.model_copy(update={"seconds": 0.0})


def test_values_of_personal_columns_are_nowhere(explain, prepare_people, context):
    prepared = prepare_people()
    found = explain(prepared)
    assert {importance.column for importance in found.importances} == {"debts", "forename", "age"}
    text = found.model_dump_json() + Storage(context.storage_uri).read_bytes(found.report).decode()
    assert "Zebedee" not in text
    assert ".125" not in text
    assert {name.partition(" = ")[0] for name, _ in found.rows[0].attributions} == {
        "debts",
        "personal columns",
    }
    assert found.notes == (
        "2 columns are personal; in explained rows they are one part together, and their values "
        "are not shown.",
    )


def test_personal_labels_are_nowhere(explain, prepare_people, context):
    prepared = prepare_people()
    columns = [
        column.model_copy(update={"personal": column.personal or column.role == "label"})
        for column in prepared.snapshot.columns
    ]
    snapshot = prepared.snapshot.model_copy(update={"columns": tuple(columns)})
    found = explain(prepared.model_copy(update={"snapshot": snapshot}))
    text = found.model_dump_json() + Storage(context.storage_uri).read_bytes(found.report).decode()
    assert "never" not in text
    assert {row.prediction for row in found.rows} <= {"class 1", "class 2"}
    assert {row.truth for row in found.rows} == {"hidden"}


def test_images_have_pictures_of_heat_and_activations(explain, prepare_images):
    found = explain(prepare_images())
    assert found.importances == ()
    assert set(found.pictures) == {"attributions.png", "activations.png"}
    assert found.rows[0].attributions == ()
    assert [layer.shape for layer in found.activations] == [(2, 2, 1), (4,), (2,)]


def test_personal_images_are_not_drawn(explain, prepare_images):
    prepared = prepare_images()
    columns = [
        column.model_copy(update={"personal": column.kind == "image"})
        for column in prepared.snapshot.columns
    ]
    snapshot = prepared.snapshot.model_copy(update={"columns": tuple(columns)})
    found = explain(prepared.model_copy(update={"snapshot": snapshot}))
    assert found.pictures == {}
    assert found.rows[0].picture == ""
    assert found.notes == ("The images are personal, so no picture of them is drawn.",)


def test_values_are_explained_in_their_own_unit(explain, prepare_table):
    found = explain(prepare_table(problem="regression"), metric="mae")
    assert found.importances[0].column == "months"
    assert {row.explained for row in found.rows} == {"the value"}
    assert found.rows[0].confidence is None
    assert abs(found.rows[0].end) > 1


def test_nothing_is_explained_where_it_is_switched_off(explain, prepare_table):
    found = explain(prepare_table(), ExplanationConfig(enabled=False))
    assert (found.rows, found.pictures, found.report) == ((), {}, None)
    assert outcome_of(found) == "nothing explained"
    assert evidence_of(found, with_history=True).files == {}


def test_the_run_keeps_importances_as_metrics_and_the_rest_as_files(explain, prepare_table):
    found = explain(prepare_table(renamed="months (since 1 Jan.)"))
    kept = evidence_of(found, with_history=True)
    assert [name for name, *_ in kept.metrics] == [
        "importance/months _since 1 Jan._",
        "importance/plan",
    ]
    assert set(kept.files) == {
        "explanation/report.json",
        "explanation/importances.png",
        "explanation/attributions.png",
    }
    assert outcome_of(found) == "most by months (since 1 Jan.), plan; 4 rows explained"


def test_a_sample_of_rows_is_the_same_each_time():
    rows = np.arange(100)
    assert np.array_equal(some_rows(rows, 10), some_rows(rows, 10))
    assert np.array_equal(some_rows(rows, 200), rows)
