import secrets
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.packaging import package_model, server_requirements
from tasks.storage import Storage


@pytest.fixture
def load(context, tmp_path, train_quickly, monkeypatch):
    """Packages a quickly trained network and loads it as a server would."""
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

    def run(prepared, name="model"):
        package = package_model.fn(context, prepared, train_quickly(prepared))
        for path, file in package.files.items():
            target = tmp_path / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(Storage(context.storage_uri).read_bytes(file))
        return mlflow.pyfunc.load_model(str(tmp_path / name), suppress_warnings=True)

    return run


@pytest.fixture
def customers():
    return pd.DataFrame({"months": [1.0, None, 70.0], "plan": ["basic", None, "never seen"]})


def test_raw_rows_give_labels_and_probabilities(load, prepare_table, customers):
    found = load(prepare_table()).predict(customers)
    assert list(found) == ["prediction", "probability_No", "probability_Yes"]
    assert set(found["prediction"]) <= {"Yes", "No"}
    assert found.drop(columns="prediction").sum(axis=1).tolist() == pytest.approx([1, 1, 1])


def test_from_an_encrypted_storage_it_names_all_that_a_network_needs(
    load, prepare_table, customers, tmp_path, monkeypatch
):
    monkeypatch.setenv("ROUNDHOUSE_STORAGE_KEY", secrets.token_hex(32))
    assert len(load(prepare_table()).predict(customers)) == 3
    needed = (tmp_path / "model" / "requirements.txt").read_text()
    assert "keras==" in needed
    assert "tensorflow==" in needed


def test_blanks_are_accepted_everywhere_and_a_missing_column_nowhere(
    load, prepare_table, customers
):
    model = load(prepare_table())
    assert len(model.predict(customers.assign(plan=None))) == 3
    assert len(model.predict(customers.assign(months=np.nan))) == 3
    for column in customers:
        with pytest.raises(Exception, match=f"missing inputs .*{column}"):
            model.predict(customers.drop(columns=column))


def test_the_order_and_the_index_of_the_rows_are_kept(load, prepare_table, customers):
    model = load(prepare_table())
    many = pd.concat([customers] * 400, ignore_index=True)
    shuffled = many.sample(frac=1, random_state=0)[["plan", "months"]]
    found, expected = model.predict(shuffled), model.predict(many)
    assert found.index.equals(shuffled.index)
    pd.testing.assert_frame_equal(found.sort_index(), expected, atol=1e-6)
    assert model.predict(customers.iloc[:0]).empty


def test_two_versions_live_in_one_process(load, prepare_table, customers):
    first = load(prepare_table(), "first")
    before = first.predict(customers)
    second = load(prepare_table(renamed="age"), "second")
    assert len(second.predict(customers.rename(columns={"months": "age"}))) == 3
    pd.testing.assert_frame_equal(first.predict(customers), before)


def test_a_regression_gives_values(load, prepare_table, customers):
    found = load(prepare_table(problem="regression")).predict(customers)
    assert list(found) == ["prediction"]
    assert found["prediction"].dtype == np.float32


def test_no_place_of_this_machine_and_no_row_is_in_the_package(
    context, prepare_table, train_quickly
):
    prepared = prepare_table()
    package = package_model.fn(context, prepared, train_quickly(prepared))
    storage = Storage(context.storage_uri)
    texts = {
        name: storage.read_bytes(file).decode()
        for name, file in package.files.items()
        if not name.endswith(".keras")
    }
    assert {"MLmodel", "served.py", "artifacts/features.py"} <= set(texts)
    for name, text in texts.items():
        assert str(Path(context.storage_uri).parent) not in text, name
        assert str(Path(__file__).parents[2]) not in text, name
        assert "customer 1" not in text, name
    assert texts["requirements.txt"].split() == list(package.requirements)


def test_requirements_are_pinned_without_local_labels(monkeypatch):
    assert f"keras=={metadata.version('keras')}" in server_requirements()
    monkeypatch.setattr(metadata, "version", lambda name: "2.21.0+cu128")
    assert "tensorflow==2.21.0" in server_requirements()
