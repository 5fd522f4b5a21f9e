import datetime

import numpy as np
import pyarrow as pa
import pytest

from tasks.clusters import cluster_rows, require_column
from tasks.config import GateConfig, IngestionConfig, PipelineConfig
from tasks.errors import ConfigError
from tasks.handoffs import Column, Snapshot
from tasks.snapshots import write_snapshot
from tasks.storage import Storage

COLUMNS = (
    Column(name="patient", role="ignored", kind="category"),
    Column(name="time", role="identifier", kind="time"),
    Column(name="size", role="feature", kind="numeric"),
    Column(name="grade", role="label", kind="category"),
)
START = datetime.datetime(2026, 3, 1, 20)  # noqa: DTZ001  # as in a file
ROWS = np.array([0, 1, 3, 5, 6])


@pytest.fixture
def clusters(tmp_path):
    """Asks for the clusters of some rows of eight, six hours apart, of three patients."""
    storage = Storage(str(tmp_path / "storage"))
    table = pa.table(
        {
            "patient": ["b", "a", "a", None, "c", None, "b", "a"],
            "time": [
                (START + datetime.timedelta(hours=6 * n)).replace(tzinfo=None) for n in range(8)
            ],
            "size": [1.0, 2, 3, 4, 5, 6, 7, 8],
            "grade": ["x", "y"] * 4,
        }
    )
    write_snapshot(table, tmp_path / "snapshot.parquet")
    snapshot = Snapshot(
        dataset="trial", problem="classification",
        file=storage.put_file(tmp_path / "snapshot.parquet"), rows=8, columns=COLUMNS,
        source_digest="d",
    )  # fmt: skip

    class Prepared:
        split: dict

    prepared = Prepared()
    prepared.snapshot = snapshot

    def ask(named=None, strategy="hash", column=None, rows=ROWS):
        prepared.split = {"strategy": strategy, "column": column}
        return cluster_rows(storage, prepared, rows, named)

    return ask


def test_rows_stand_alone_unless_told_otherwise(clusters):
    assert clusters() is None
    assert clusters(named="none", strategy="group", column="patient") is None


@pytest.mark.parametrize(
    "asked", [{"named": "patient"}, {"strategy": "group", "column": "patient"}]
)
def test_rows_of_a_group_go_together_and_so_do_those_without_one(clusters, asked):
    assert clusters(**asked).tolist() == [0, 1, 2, 2, 0]


@pytest.mark.parametrize("asked", [{"named": "time"}, {"strategy": "time", "column": "time"}])
def test_rows_of_a_day_go_together(clusters, asked):
    # 20:00, then 2:00, 14:00 and, two days on, 2:00 and 8:00
    assert clusters(**asked).tolist() == [0, 1, 1, 2, 2]


def test_of_numbers_that_say_when_each_is_alone_unless_named(clusters):
    assert clusters(strategy="time", column="size") is None
    assert clusters(named="grade").tolist() == [0, 1, 1, 1, 0]


def test_where_no_two_go_together_there_are_no_clusters(clusters):
    assert clusters(named="patient", rows=np.array([0, 1, 4])) is None


def test_an_unknown_column_is_refused_with_those_there_are():
    config = PipelineConfig(
        pipeline="trial", ingestion=IngestionConfig(dataset="trial"),
        gate=GateConfig(clusters="patiant"),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="'patiant'; expected 'none' or a column of trial: pat"):
        require_column(config, COLUMNS)
