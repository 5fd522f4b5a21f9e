"""A package that was trained on treated rows takes raw ones, and treats them alike."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tasks.handoffs import Column
from tasks.keys import key_id
from tasks.latency import _loaded
from tasks.masking import mask
from tasks.packaging import package_model
from tasks.preprocessing import treatments_of
from tasks.storage import Storage
from tasks.treatments import treated

KEY = bytes(range(32))
COLUMNS = (
    Column(name="customer", role="identifier", kind="category"),
    Column(name="age", role="feature", kind="numeric", protection="generalise", range_width=10),
    Column(name="postcode", role="feature", kind="category", protection="generalise",
           prefix_length=2),
    Column(name="shop", role="feature", kind="category", protection="hash"),
    Column(name="left", role="label", kind="category"),
)  # fmt: skip


def raw_rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": random.uniform(20, 80, 200),
            "postcode": random.choice(["8001", "8124", "3000"], 200),
            "shop": random.choice(["north", "south"], 200),
        }
    )


@pytest.fixture
def served(context, prepare_rows, train_quickly, monkeypatch, tmp_path):
    """The packaged model, and the raw rows it was trained on."""
    monkeypatch.setenv("ROUNDHOUSE_PRIVACY_KEY", KEY.hex())
    raw, key = raw_rows(), key_id(KEY, "privacy")
    stored = treated(raw, treatments_of(COLUMNS), mask, key)
    labels = np.where(stored["age"] > 45, "Yes", "No")
    customers = pa.array([str(number) for number in range(len(raw))])
    arrays = [
        customers,
        *(pa.array(stored[name].tolist()) for name in raw),
        pa.array(labels.tolist()),
    ]
    prepared = prepare_rows(COLUMNS, arrays, privacy_key=key)
    package = package_model.fn(context, prepared, train_quickly(prepared))
    (tmp_path / "served").mkdir()
    return _loaded(Storage(context.storage_uri), package, tmp_path / "served"), raw, stored


def test_raw_rows_and_stored_ones_get_the_same_answer(served, monkeypatch) -> None:
    model, raw, stored = served
    answers = model.predict(None, raw)
    assert answers["prediction"].nunique() == 2
    monkeypatch.delenv("ROUNDHOUSE_PRIVACY_KEY")
    pd.testing.assert_frame_equal(model.predict(None, stored), answers)
    with pytest.raises(ValueError, match="'shop' was hashed for the training"):
        model.predict(None, raw)
