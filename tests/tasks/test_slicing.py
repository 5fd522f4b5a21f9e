import csv
import json
import time

import numpy as np
import pyarrow as pa
import pytest

from tasks.appraisal import FairnessGap, Slice, Slices
from tasks.appraisal_evidence import in_metric_name
from tasks.config import GateConfig, SliceConfig
from tasks.evidence import evidence_of, outcome_of
from tasks.handoffs import Column, StoredFile
from tasks.judgement import Evaluation
from tasks.metrics import measure
from tasks.slice_pictures import draw_slices
from tasks.slice_tables import gap_rows, slice_rows, slices_in_words, worst_slice
from tasks.slicing import measure_slices
from tasks.storage import Storage

ROWS = 3000
SIZE = Column(name="size", role="feature", kind="numeric")
SEX = Column(name="sex", role="ignored", kind="category")
CLASS = Column(name="class", role="label", kind="category")
ALL = SliceConfig(columns=("size=0",), sensitive=("sex",))


@pytest.fixture
def people(prepare_rows):
    """Three thousand rows; `sex` is no feature, and `columns` may leave it out."""

    def make(columns=(SIZE, SEX, CLASS), rows=ROWS):
        random = np.random.default_rng(1)
        values = {
            "size": pa.array(random.normal(size=rows)),
            "sex": pa.array(random.choice(["f", "m"], rows)),
            "class": pa.array(random.choice(["no", "yes"], rows)),
        }
        arrays = [values[column.name] for column in columns]
        return prepare_rows(columns, arrays)

    return make


@pytest.fixture
def evaluate(context):
    """The evaluation of made predictions: those of a class, right but for some of the rows."""

    def make(prepared, wrong):
        storage = Storage(context.storage_uri)
        labels = storage.array(prepared.test.labels)
        given = np.where(wrong, 1 - labels, labels)
        predictions = (0.1 + 0.8 * np.eye(2)[given]).astype(np.float32)
        with storage.workspace() as folder:
            np.save(folder / "predictions.npy", predictions)
            file = storage.put_file(folder / "predictions.npy")
        return Evaluation(
            rows=len(labels), metrics=measure("classification", labels, predictions), baselines={},
            predictions=file, pictures={}, report=file,
        )  # fmt: skip

    return make


@pytest.fixture
def sexes(context):
    """Of the test rows, whose they are."""

    def find(prepared):
        from tasks.snapshots import read_snapshot

        storage = Storage(context.storage_uri)
        table = read_snapshot(storage, prepared.snapshot, ["sex"])
        return np.array(table["sex"].to_pylist())[storage.array(prepared.test.rows)]

    return find


def test_a_group_that_the_model_gets_wrong_has_the_low_figure(context, people, evaluate, sexes):
    prepared = people()
    of_women = sexes(prepared) == "f"
    # two of five women
    wrong = of_women & (np.cumsum(of_women) % 5 < 2)
    evaluation = evaluate(prepared, wrong)
    found = measure_slices.fn(context, prepared, evaluation, ALL, GateConfig())
    women, men = (next(p for p in found.table if p.value == sex) for sex in "fm")
    assert women.metrics["accuracy"] == pytest.approx(0.6, abs=0.01)
    assert women.low < 0.6 < women.high < 0.7
    assert men.metrics["accuracy"] == 1.0
    assert men.low < 1.0 == men.high
    assert women.rows + men.rows == evaluation.rows
    # which of them are given a class does not tell the groups apart, who is so wrongly does
    (gap,) = found.gaps
    assert gap.equalised_odds == pytest.approx(0.4, abs=0.1)
    assert gap.demographic_parity < 0.12
    assert worst_slice(found).value == "f"
    table = json.loads(Storage(context.storage_uri).path(found.report).read_text())
    assert table["all"]["rows"] == evaluation.rows
    assert [part["value"] for part in table["table"]] == ["below 0", "0 or more", *_order(found)]
    lines = Storage(context.storage_uri).path(found.spreadsheet).read_text().splitlines()
    assert [row["rows"] for row in csv.DictReader(lines)] == [str(p.rows) for p in found.table]
    members = Storage(context.storage_uri).array(found.membership)
    assert (members.dtype, members.shape) == (np.int32, (evaluation.rows, 2))
    assert np.array_equal(members[:, 1] == _order(found).index("f"), of_women)


def _order(found):
    return [part.value for part in found.table if part.column == "sex"]


def test_nothing_is_measured_where_nothing_is_asked_for(context, people, evaluate):
    prepared = people(rows=200)
    evaluation = evaluate(prepared, np.zeros(prepared.test.count, bool))
    found = measure_slices.fn(context, prepared, evaluation, SliceConfig(), GateConfig())
    assert found == Slices(metric="accuracy")
    assert outcome_of(found) == "none asked for"


def test_a_sensitive_column_that_is_no_feature_changes_nothing_that_a_model_is_given(people):
    with_it, without = people(rows=300), people((SIZE, CLASS), rows=300)
    for side in ("train", "validation", "test"):
        one, other = getattr(with_it, side), getattr(without, side)
        assert one.inputs.sha256 == other.inputs.sha256
        assert one.labels.sha256 == other.labels.sha256
    assert with_it.preprocessing.sha256 == without.preprocessing.sha256


def test_a_regression_has_slices_and_gaps_of_values(context, prepare_table):
    prepared = prepare_table(problem="regression")
    storage = Storage(context.storage_uri)
    targets = storage.array(prepared.test.labels)
    with storage.workspace() as folder:
        np.save(folder / "predictions.npy", (targets + 3).astype(np.float32))
        file = storage.put_file(folder / "predictions.npy")
    metrics = measure("regression", targets, targets + 3)
    evaluation = Evaluation(
        rows=len(targets), metrics=metrics, baselines={}, predictions=file, pictures={}, report=file
    )
    config = SliceConfig(columns=("months",), sensitive=("plan",))
    gate = GateConfig(metric="mae", slice_rows=10)
    found = measure_slices.fn(context, prepared, evaluation, config, gate)
    assert {part.column for part in found.table} == {"months", "plan"}
    assert all(part.metrics["mae"] == pytest.approx(3, abs=1e-4) for part in found.table)
    assert found.gaps[0].errors == pytest.approx(0, abs=1e-4)
    assert found.gaps[0].demographic_parity is None


FILE = StoredFile(uri="content/aa", sha256="a" * 64, size=3)
PARTS = (
    Slice(column="age", value="below 25", rows=90, metrics={"roc_auc": 0.7}, low=0.6, high=0.8),
    Slice(column="age", value="25 or more", rows=900, metrics={"roc_auc": 0.9}, low=0.8, high=0.95),
    Slice(column="sex", value="<m>", rows=9, metrics={"accuracy": 1.0}),
)
GAP = FairnessGap(
    column="sex", groups=("f", "m"), demographic_parity=0.2, equalised_odds=0.1,
    intervals={"demographic_parity": (0.1, 0.3), "equalised_odds": (0.05, 0.2)},
    labels={"demographic_parity": "yes", "equalised_odds": "yes"},
)  # fmt: skip
FOUND = Slices(
    metric="roc_auc", least_rows=50, table=PARTS, gaps=(GAP,), columns=("age", "sex"),
    pictures={"slices.png": FILE}, report=FILE, spreadsheet=FILE,
)  # fmt: skip


def test_figures_gaps_table_and_picture_are_kept_with_the_run():
    evidence = evidence_of(FOUND, with_history=False)
    assert {name: value for name, value, _ in evidence.metrics} == {
        "slice/age/below 25": 0.7, "slice/age/25 or more": 0.9,
        "fairness/sex/demographic_parity": 0.2, "fairness/sex/equalised_odds": 0.1,
    }  # fmt: skip
    assert set(evidence.files) == {"slices.json", "slices.csv", "pictures/slices.png"}
    assert outcome_of(FOUND) == "3 slices by age, sex"


def test_the_figures_of_many_slices_are_so_many_and_no_more():
    many = tuple(PARTS[0].model_copy(update={"value": f"v{n}"}) for n in range(500))
    evidence = evidence_of(FOUND.model_copy(update={"table": many}), with_history=False)
    assert len(evidence.metrics) == 102


@pytest.mark.parametrize(
    ("value", "name"),
    [(">50K", "_50K"), ("a/b", "a_b"), ("..", "__"), (" ", "_"), ("Zoë", "Zo_"), ("7-8", "7-8")],
)
def test_any_value_makes_a_name_that_mlflow_takes(value, name):
    from mlflow.utils.validation import _validate_metric_name

    assert in_metric_name(value).replace("_", "") == name.replace("_", "")
    _validate_metric_name(f"slice/x/{in_metric_name(value)}")


def test_tables_and_sentences_say_what_was_found():
    assert slice_rows(FOUND)[0] == {
        "column": "age", "value": "below 25", "rows": "90", "roc_auc": "0.7000",
        "interval": "0.600 to 0.800",
    }  # fmt: skip
    assert (slice_rows(FOUND)[2]["roc_auc"], slice_rows(FOUND)[2]["interval"]) == ("", "")
    assert gap_rows(FOUND)[1]["gap of"] == "equalised odds"
    assert slices_in_words(FOUND) == (
        "roc_auc is worst where age is 'below 25': 0.7000 (0.600 to 0.800) of 90 rows; 3 slices in "
        "all",
        "gaps between groups of sex: demographic parity 0.200 (0.100 to 0.300), equalised odds "
        "0.100 (0.050 to 0.200)",
    )


def test_the_picture_has_pages_for_many_slices_and_is_the_same_each_time():
    drawn = draw_slices("roc_auc", PARTS, 0.85, least_rows=50)
    assert list(drawn) == ["slices.png"]
    assert drawn == draw_slices("roc_auc", PARTS, 0.85, least_rows=50)
    assert drawn != draw_slices("roc_auc", PARTS[:2], 0.85, least_rows=50)
    many = [
        PARTS[0].model_copy(update={"column": f"c{n // 30}", "value": f"v{n}"}) for n in range(90)
    ]
    assert list(draw_slices("roc_auc", many, None, least_rows=50)) == ["slices.png", "slices_2.png"]


@pytest.mark.slow
def test_a_hundred_thousand_rows_in_fifty_slices_take_seconds(context, prepare_rows, evaluate):
    random, rows = np.random.default_rng(0), 700_000
    groups = [Column(name=f"group {n}", role="ignored", kind="category") for n in range(5)]
    columns = (SIZE, *groups, CLASS)
    arrays = [
        pa.array(random.normal(size=rows)),
        *(pa.array(random.integers(0, 10, rows).astype(str)) for _ in groups),
        pa.array(random.choice(["no", "yes"], rows)),
    ]
    prepared = prepare_rows(columns, arrays)
    assert prepared.test.count > 100_000
    evaluation = evaluate(prepared, random.random(prepared.test.count) < 0.2)
    config = SliceConfig(columns=[group.name for group in groups])
    started = time.process_time()
    found = measure_slices.fn(context, prepared, evaluation, config, GateConfig(metric="roc_auc"))
    assert len(found.table) == 50
    assert time.process_time() - started < 40
