import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tasks.config import IngestionConfig, SplitConfig
from tasks.datasets import DATASETS
from tasks.errors import DataError, SourceError
from tasks.ingestion import ingest_data
from tasks.privacy import hashing_key_id
from tasks.settings import Settings
from tasks.snapshots import read_snapshot
from tasks.sources import find_source
from tasks.splitting import assign_sides
from tasks.storage import Storage


@pytest.fixture
def ingest(context, tmp_path, monkeypatch):
    monkeypatch.setenv("ROUNDHOUSE_PRIVACY_KEY", "07" * 32)

    def run(dataset="telco_churn", location=None, **config):
        location = str(location) if location else None
        checksum = "none" if location else "published"
        source = find_source(
            dataset, location=location, checksum=checksum, downloads=tmp_path,
            privacy_key=hashing_key_id(DATASETS[dataset], Settings()),
        )  # fmt: skip
        return ingest_data.fn(context, source, IngestionConfig(dataset=dataset, **config))

    return run


def rewrite(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return path.parent


@pytest.mark.parametrize(("dataset", "rows"), [("digits", 1797), ("breast_cancer", 569)])
def test_bundled_datasets_become_snapshots(ingest, context, dataset, rows):
    snapshot = ingest(dataset)
    table = read_snapshot(Storage(context.storage_uri), snapshot)
    assert (snapshot.rows, table.num_rows) == (rows, rows)
    assert table.column_names == [column.name for column in snapshot.columns]


def test_the_same_data_is_the_same_file_and_read_only(ingest, context, telco_csv, tmp_path):
    first = ingest(location=telco_csv.parent)
    moved = telco_csv.parent.rename(tmp_path / "elsewhere")
    context_path = Storage(context.storage_uri).path(first.file)
    assert ingest(location=moved).file == first.file
    assert context_path.stat().st_mode & 0o222 == 0


def test_mnist_becomes_a_snapshot_with_parts(ingest, context, mnist_folder):
    snapshot = ingest("mnist", mnist_folder)
    table = read_snapshot(Storage(context.storage_uri), snapshot, columns=["part"])
    assert table["part"].value_counts().to_pylist() == [
        {"values": "train", "counts": 200}, {"values": "test", "counts": 60},
    ]  # fmt: skip


def test_a_parquet_file_gives_the_snapshot_of_the_csv(ingest, telco_csv, tmp_path):
    from_csv = ingest(location=telco_csv.parent)
    folder = tmp_path / "parquet"
    folder.mkdir()
    table = pa.csv.read_csv(telco_csv, convert_options=pa.csv.ConvertOptions(null_values=[" "]))
    pq.write_table(table, folder / "Telco-Customer-Churn.parquet")
    assert ingest(location=folder).file == from_csv.file


def test_only_some_rows_are_kept_and_mostly_the_same_as_data_grows(
    ingest, telco_csv, context, telco_lines
):
    def customers(snapshot):
        table = read_snapshot(Storage(context.storage_uri), snapshot)
        return set(table["customerID"].to_pylist())

    some = ingest(location=rewrite(telco_csv, telco_lines[:101]), rows=20)
    more = ingest(location=rewrite(telco_csv, telco_lines), rows=20)
    assert (some.rows, more.rows) == (20, 20)
    assert len(customers(some) & customers(more)) >= 12
    assert ingest(location=telco_csv.parent, rows=500).rows == 120


@pytest.mark.parametrize(
    ("ending", "sentence"), [("", "is blank in all 120 rows"), ("No", "is 'No' in every row")]
)
def test_labels_from_which_nothing_is_learnt_are_refused(
    ingest, telco_csv, telco_lines, ending, sentence
):
    rows = [f"{line.rpartition(',')[0]},{ending}" for line in telco_lines[1:]]
    with pytest.raises(DataError, match=sentence):
        ingest(location=rewrite(telco_csv, [telco_lines[0], *rows]))


def test_fewer_rows_than_labels_are_refused(ingest, tmp_path):
    rows = [",".join(["1"] * 64 + [str(digit)]) for digit in range(5)]
    (tmp_path / "digits.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"There are 5 rows; Handwritten digits.* has 10 labels"):
        ingest("digits", tmp_path)


def test_a_missing_label_column_is_named(ingest, telco_csv, telco_lines):
    lines = [line.rpartition(",")[0] for line in telco_lines]
    with pytest.raises(SourceError, match="lacks 'Churn', the label"):
        ingest(location=rewrite(telco_csv, lines))


def test_the_rows_kept_are_spread_over_the_sides_of_the_split(ingest, context):
    snapshot = ingest("digits", rows=300)
    table = read_snapshot(Storage(context.storage_uri), snapshot)
    shares = np.bincount(assign_sides(table, snapshot.columns, SplitConfig())) / 300
    assert np.allclose(shares, [0.7, 0.15, 0.15], atol=0.07)


def test_a_file_that_changes_before_it_is_read_is_refused(context, telco_csv, tmp_path):
    location = str(telco_csv.parent)
    source = find_source("telco_churn", location=location, checksum="none", downloads=tmp_path)
    telco_csv.write_text(telco_csv.read_text().replace("Female", "Woman"))
    with pytest.raises(SourceError, match=r"was changed while it was read.*Run again"):
        ingest_data.fn(context, source, IngestionConfig(dataset="telco_churn"))
    telco_csv.write_text("cut")
    with pytest.raises(SourceError, match="was changed while it was read"):
        ingest_data.fn(context, source, IngestionConfig(dataset="telco_churn"))


def test_data_that_moved_are_not_read_again(context, ingest, telco_csv, tmp_path, caplog):
    caplog.set_level("INFO", logger="tasks.stages")
    ingest(location=telco_csv.parent)
    ingest(location=telco_csv.parent.rename(tmp_path / "elsewhere"))
    assert [getattr(record, "event", "") for record in caplog.records][-1] == "reused"
