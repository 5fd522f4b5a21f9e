from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pytest

from tasks.columns import arrow_schema
from tasks.config import IngestionConfig, SplitConfig
from tasks.datasets import DATASETS
from tasks.errors import ConfigError, DataError
from tasks.handoffs import Column
from tasks.ingestion import ingest_data
from tasks.keys import PRIVACY_KEY
from tasks.preprocessing import treatments_of
from tasks.privacy import hashing_key_id, require_fitting, treat, treated_columns
from tasks.settings import Settings
from tasks.snapshots import read_snapshot
from tasks.sources import find_source
from tasks.splitting import assign_sides
from tasks.storage import Storage
from tasks.unseen import describe_split, described_columns

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
COLUMNS = (
    Column(name="name", role="ignored", kind="text", protection="drop"),
    Column(name="customer", role="identifier", kind="numeric", integer=True, protection="hash"),
    Column(name="age", role="feature", kind="numeric", protection="generalise", range_width=10,
           integer=True),
    Column(name="postcode", role="feature", kind="category", protection="generalise",
           prefix_length=2),
    Column(name="born", role="ignored", kind="time", protection="generalise"),
    Column(name="note", role="ignored", kind="text", protection="mask"),
    Column(name="left", role="label", kind="category"),
)  # fmt: skip
VALUES = {
    "name": ["Ada Lovelace", "Otto Hahn", None],
    "customer": [17, 18, 17],
    "age": [39, None, 40],
    "postcode": ["8001", "3", None],
    "born": [
        datetime.fromisoformat("1979-03-08"),
        None,
        datetime.fromisoformat("2001-12-31T23:00"),
    ],
    "note": ["Hi Ada", None, "mail a@b.example"],
    "left": ["Yes", "No", "Yes"],
}


@pytest.fixture
def table():
    return pa.table(VALUES, schema=arrow_schema(COLUMNS))


def test_each_treatment_does_what_it_says(table) -> None:
    found = treat(table, COLUMNS, KEY)
    assert found.schema.equals(arrow_schema(treated_columns(COLUMNS)))
    first, second, third = found.drop_columns(["customer"]).to_pylist()
    assert list(first) == ["age", "postcode", "born", "note", "left"]
    assert first["age"] == 30
    assert third["age"] == 40
    assert (first["postcode"], second["postcode"], third["postcode"]) == ("80", "3", None)
    assert (first["born"], third["born"]) == (
        datetime.fromisoformat("1979-03-01"),
        datetime.fromisoformat("2001-12-01"),
    )
    assert (first["note"], third["note"]) == ("Hi [NAME]", "mail [EMAIL]")
    assert second["age"] is second["born"] is second["note"] is None
    hashes = found["customer"].to_pylist()
    assert hashes[0] == hashes[2] != hashes[1]
    assert hashes != treat(table, COLUMNS, OTHER_KEY)["customer"].to_pylist()
    assert all(value.startswith("hmac:") for value in hashes)


def test_nothing_is_done_where_nothing_is_protected() -> None:
    columns = DATASETS["breast_cancer"].columns
    plain = pa.table({column.name: [1.0] for column in columns})
    assert treat(plain, columns, None) is plain
    assert treatments_of(columns) == []


def test_what_is_protected_is_personal() -> None:
    assert all(column.personal for column in treated_columns(COLUMNS) if column.role != "label")
    assert Column.model_validate_json(COLUMNS[1].model_dump_json()) == COLUMNS[1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"kind": "text", "protection": "generalise"},
            "kind 'text'; expected one of none, drop, h",
        ),
        ({"kind": "numeric", "protection": "mask"}, "kind 'numeric'; expected one of none, drop"),
        ({"kind": "numeric", "protection": "hash"}, "expected the kind 'category'"),
        ({"kind": "time", "protection": "hash"}, "depends on how a value is written"),
        ({"kind": "image", "protection": "hash"}, "kind 'image'; expected one of none, drop"),
        ({"kind": "numeric", "protection": "generalise"}, "needs range_width"),
        ({"kind": "category", "protection": "generalise"}, "needs prefix_length"),
        ({"kind": "time", "protection": "generalise", "prefix_length": 4}, "not use prefix_length"),
        (
            {"kind": "numeric", "integer": True, "protection": "generalise", "range_width": 0.5},
            "range_width=0.5; expected a whole number",
        ),
        ({"role": "label", "kind": "category", "protection": "hash"}, "the role 'label'"),
    ],
)
def test_a_treatment_that_does_not_fit_is_refused(changes, reason) -> None:
    column = Column(**{"name": "it", "role": "feature", **changes})
    dataset = replace(DATASETS["telco_churn"], columns=(column,))
    with pytest.raises(
        ConfigError, match=r"The column 'it' has protection=.*telco_churn\.py"
    ) as no:
        require_fitting(dataset)
    assert reason in str(no.value)


def test_the_words_that_tags_belong_to_are_not_masked() -> None:
    column = Column(name="text", role="feature", kind="text", protection="mask")
    with pytest.raises(ConfigError, match="the words that the tags belong to"):
        require_fitting(replace(DATASETS["wnut17"], columns=(column,)))


def test_every_dataset_is_protected_in_a_way_that_fits() -> None:
    for dataset in DATASETS.values():
        require_fitting(dataset)


@pytest.fixture
def ingest(context, telco_csv, monkeypatch):
    """Ingests the small churn table with a key: (key) -> snapshot."""

    def run(key=KEY, begun_with=None):
        monkeypatch.setenv(PRIVACY_KEY, (begun_with or key).hex())
        dataset = DATASETS["telco_churn"]
        source = find_source(
            "telco_churn", location=str(telco_csv.parent), checksum="none",
            downloads=telco_csv.parent, privacy_key=hashing_key_id(dataset, Settings()),
        )  # fmt: skip
        monkeypatch.setenv(PRIVACY_KEY, key.hex())
        return ingest_data.fn(context, source, IngestionConfig(dataset="telco_churn"))

    return run


def test_identifiers_are_hashed_before_anything_is_stored(ingest, context) -> None:
    snapshot = ingest()
    table = read_snapshot(Storage(context.storage_uri), snapshot)
    customers = table["customerID"].to_pylist()
    assert len(set(customers)) == table.num_rows
    assert all(customer.startswith("hmac:") for customer in customers)


def test_another_key_is_another_source_and_another_split(ingest, context) -> None:
    first, again, other = ingest(), ingest(), ingest(OTHER_KEY)
    assert first == again
    assert first.source_digest != other.source_digest
    tables = [read_snapshot(Storage(context.storage_uri), one) for one in (first, other)]
    splits = [
        describe_split(
            table, snapshot.columns, SplitConfig(),
            assign_sides(table, snapshot.columns, SplitConfig()), snapshot.privacy_key,
        )
        for table, snapshot in zip(tables, (first, other), strict=True)
    ]  # fmt: skip
    assert splits[0] != splits[1]
    assert described_columns(splits[0], first.columns, first.privacy_key)
    with pytest.raises(DataError, match="hashed with another privacy key"):
        described_columns(splits[0], other.columns, other.privacy_key)
    plain = DATASETS["telco_churn"].columns[0].model_copy(update={"protection": "none"})
    with pytest.raises(DataError, match=r"of kind category, which is of kind text"):
        described_columns(splits[0], (plain,))


def test_a_key_that_changes_while_a_run_is_on_its_way_is_refused(ingest) -> None:
    with pytest.raises(ConfigError, match="The run began with the privacy key whose id is"):
        ingest(KEY, begun_with=OTHER_KEY)
