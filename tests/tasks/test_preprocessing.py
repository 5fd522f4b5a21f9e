import json

import numpy as np
import pyarrow as pa
import pytest

from tasks.columns import as_pixels, typed
from tasks.config import IngestionConfig, PreparationConfig, SplitConfig
from tasks.datasets import DATASETS
from tasks.errors import DataError
from tasks.handoffs import CheckedData, Column, Snapshot
from tasks.ingestion import ingest_data
from tasks.preprocessing import prepare_data
from tasks.privacy import hashing_key_id
from tasks.settings import Settings
from tasks.snapshots import images, read_snapshot, write_snapshot
from tasks.sources import find_source
from tasks.storage import Storage
from tasks.targets import class_names

LABEL = Column(name="label", role="label", kind="category")
SIZE = Column(name="size", role="feature", kind="numeric")


@pytest.fixture
def storage(context):
    return Storage(context.storage_uri)


@pytest.fixture
def prepare(context):
    def run(snapshot, split=None, **preparation):
        file = snapshot.file
        checked = CheckedData(
            snapshot=snapshot, passed=1, warnings=(), total=1, report=file, data_docs=file
        )
        config = PreparationConfig(**preparation)
        return prepare_data.fn(context, checked, split or SplitConfig(), config)

    return run


@pytest.fixture
def snapshot_of(storage, tmp_path):
    """Makes a snapshot of columns and values."""

    def make(columns, values, problem="classification"):
        write_snapshot(typed(pa.table(values), columns, tmp_path), tmp_path / "a.parquet")
        return Snapshot(
            dataset="digits",
            problem=problem,
            file=storage.put_file(tmp_path / "a.parquet"),
            rows=len(values["label"]),
            columns=columns,
            source_digest="0",
        )

    return make


@pytest.fixture
def ingest(context, tmp_path, monkeypatch):
    def run(dataset, location=None):
        checksum = "none" if location else "published"
        monkeypatch.setenv("ROUNDHOUSE_PRIVACY_KEY", "07" * 32)
        source = find_source(
            dataset, location=location, checksum=checksum, downloads=tmp_path,
            privacy_key=hashing_key_id(DATASETS[dataset], Settings()),
        )  # fmt: skip
        return ingest_data.fn(context, source, IngestionConfig(dataset=dataset))

    return run


def load(storage, stored):
    return storage.array(stored)


def sides(prepared):
    return prepared.train, prepared.validation, prepared.test


def test_images_are_split_and_kept_as_they_are(ingest, prepare, storage):
    snapshot = ingest("digits")
    prepared = prepare(snapshot)
    table = read_snapshot(storage, snapshot)
    rows = load(storage, prepared.test.rows)
    assert prepared.classes == tuple("0123456789")
    assert (prepared.input_shape, prepared.pixel_maximum) == ((8, 8, 1), 16)
    assert np.array_equal(
        load(storage, prepared.test.inputs), images(table, snapshot.columns[0])[rows]
    )
    labels = load(storage, prepared.test.labels)
    assert [str(label) for label in labels] == table["digit"].take(rows).to_pylist()
    assert prepared.test.label_counts == tuple(np.bincount(labels))


def test_every_row_is_on_one_side_in_ascending_order(ingest, prepare, storage):
    prepared = prepare(ingest("breast_cancer"))
    rows = [load(storage, side.rows) for side in sides(prepared)]
    assert all(np.all(np.diff(numbers) > 0) for numbers in rows)
    assert sorted(np.concatenate(rows).tolist()) == list(range(569))
    assert [side.count for side in sides(prepared)] == [len(numbers) for numbers in rows]
    assert (rows[0].dtype, load(storage, prepared.train.labels).dtype) == (np.int64, np.int32)


def test_scaling_is_fitted_on_the_training_rows_only(ingest, prepare, storage):
    prepared = prepare(ingest("breast_cancer"))
    train, _, test = (load(storage, side.inputs) for side in sides(prepared))
    assert train.dtype == np.float32
    assert np.allclose(train.mean(axis=0), 0, atol=1e-5)
    assert np.abs(test.mean(axis=0)).max() > 0.01


def test_an_identifier_never_becomes_an_input(ingest, prepare, storage, telco_csv):
    prepared = prepare(ingest("telco_churn", str(telco_csv.parent)))
    text = storage.read_bytes(prepared.preprocessing).decode()
    fitted = json.loads(text)
    assert "customerID" not in text
    assert "ROUND" not in text
    assert (fitted["label"], fitted["classes"]) == ("Churn", ["No", "Yes"])
    assert prepared.input_shape == (fitted["width"],)
    assert prepared.kind == "table"


def test_how_it_was_split_goes_along(ingest, prepare, telco_csv):
    prepared = prepare(ingest("telco_churn", str(telco_csv.parent)), SplitConfig(seed=5))
    assert prepared.split["seed"] == 5
    deciding = [["customerID", "identifier", "category", "hash"]]
    assert json.loads(prepared.split["columns"]) == deciding
    assert prepared.split["privacy_key"] == prepared.snapshot.privacy_key
    assert len(prepared.split["code"]) == 64


def test_the_published_test_set_tests(ingest, prepare, storage, mnist_folder):
    prepared = prepare(ingest("mnist", str(mnist_folder)))
    assert load(storage, prepared.test.rows).tolist() == list(range(200, 260))


def test_the_same_rows_give_the_same_arrays(ingest, prepare):
    snapshot = ingest("breast_cancer")
    assert prepare(snapshot) == prepare(snapshot)
    assert prepare(snapshot) != prepare(snapshot, scaling="none")


def test_rows_without_a_label_are_left_out_and_counted(snapshot_of, prepare, storage):
    labels = [None if row % 10 == 0 else ("no", "yes")[row % 2] for row in range(200)]
    values = {"size": np.arange(200.0), "label": labels}
    prepared = prepare(snapshot_of((SIZE, LABEL), values))
    rows = np.concatenate([load(storage, side.rows) for side in sides(prepared)])
    assert not np.any(rows % 10 == 0)
    assert "20 rows without a label were left out." in prepared.warnings


def test_a_regression_target_passes_through(snapshot_of, prepare, storage):
    target = Column(name="label", role="label", kind="numeric")
    values = {"size": np.arange(100.0), "label": np.arange(100) / 2}
    prepared = prepare(snapshot_of((SIZE, target), values, "regression"))
    rows, labels = load(storage, prepared.train.rows), load(storage, prepared.train.labels)
    assert labels.dtype == np.float32
    assert np.array_equal(labels, rows / 2)
    assert (prepared.classes, prepared.train.label_counts) == ((), ())


def test_twins_on_other_sides_are_reported(snapshot_of, prepare):
    row = Column(name="row", role="identifier", kind="text")
    values = {
        "size": [1.0] * 200, "label": ["no", "yes"] * 100, "row": [f"r{n}" for n in range(200)],
    }  # fmt: skip
    prepared = prepare(snapshot_of((SIZE, LABEL, row), values))
    assert prepared.duplicates == 200
    assert "200 rows have an identical twin on another side of the split." in prepared.warnings


def test_a_side_without_rows_is_refused(snapshot_of, prepare):
    values = {"size": [1.0, 1.0, 1.0, 1.0], "label": ["no", "yes", "no", "yes"]}
    with pytest.raises(DataError, match="side has 0 of 4 rows; expected at least"):
        prepare(snapshot_of((SIZE, LABEL), values))


def test_pixels_above_the_maximum_are_refused(snapshot_of, prepare):
    image = Column(name="image", role="feature", kind="image", shape=(2, 2, 1), maximum=9)
    pixels = np.arange(400).reshape(100, 4) % 200
    values = {"image": as_pixels(pixels.astype(np.uint8)), "label": ["no", "yes"] * 50}
    with pytest.raises(DataError, match=r"cannot become inputs .* values from 0 to 199"):
        prepare(snapshot_of((image, LABEL), values))


def test_a_feature_of_another_kind_is_refused(snapshot_of, prepare):
    note = Column(name="note", role="feature", kind="text")
    size = Column(name="size", role="feature", kind="numeric")
    values = {
        "note": [f"n{row}" for row in range(100)],
        "size": list(range(100)),
        "label": ["no", "yes"] * 50,
    }
    with pytest.raises(DataError, match="are of kind numeric, text; expected one image, "):
        prepare(snapshot_of((note, size, LABEL), values))


def test_classes_are_in_the_order_of_their_numbers():
    assert class_names(pa.chunked_array([["10", "9", "-1", None]])) == ("-1", "9", "10")
    assert class_names(pa.chunked_array([["10", "9", "b"]])) == ("10", "9", "b")
