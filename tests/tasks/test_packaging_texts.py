"""A model of texts in service: raw strings in, the same answers as in training out."""

from importlib import metadata

import numpy as np
import pandas as pd
import pytest

from tasks.config import ModelConfig
from tasks.handoffs import Column
from tasks.models import build_model
from tasks.models.archive import save_network
from tasks.packaging import package_model
from tasks.storage import Storage

COLUMNS = (
    Column(name="text", role="feature", kind="text", personal=True),
    Column(name="label", role="label", kind="category"),
)
WORDS = {"bad": ["dull", "slow", "tired"], "good": ["gripping", "fresh", "witty"]}


@pytest.fixture
def prepared(prepare_rows):
    """Two hundred sentences; one word of each tells its label."""
    import pyarrow as pa

    random = np.random.default_rng(0)
    labels = random.permutation(["bad", "good"] * 100)
    texts = [f"A {random.choice(WORDS[label])} film, of {n}!" for n, label in enumerate(labels)]
    return prepare_rows(COLUMNS, [pa.array([*texts[:-1], None]), pa.array(labels.tolist())])


@pytest.fixture
def trained(context, prepared, train_quickly):
    """A small network that has learnt them, as the stage of the training hands it on."""
    storage = Storage(context.storage_uri)
    config = ModelConfig(architecture="text_cnn", embedding_size=8, filters=(16,), hidden_units=())
    network = build_model(config, prepared)
    inputs, labels = (
        np.load(storage.path(file)) for file in (prepared.train.inputs, prepared.train.labels)
    )
    network.compile("adam", "sparse_categorical_crossentropy")
    network.optimizer.learning_rate = 0.02
    network.fit(inputs, labels, epochs=10, verbose=0)
    with storage.workspace() as folder:
        save_network(network, folder / "network.keras")
        stored = storage.put_file(folder / "network.keras")
    return network, inputs, stored


@pytest.fixture
def package(context, prepared, trained):
    from tasks.judgement import Hardware, TrainedModel

    storage = Storage(context.storage_uri)
    network, _, stored = trained
    model = TrainedModel(
        network=stored, parameters=network.count_params(), history={}, best_epoch=1,
        resumed_from=0, seconds=1.0, rows_per_second=1.0, seed=0,
        hardware=Hardware(backend="tensorflow", devices=("CPU",), precision="float32",
                          cpu_count=2),
        summary=storage.put_bytes(b"one", ".txt"), libraries=("keras-hub",),
    )  # fmt: skip
    return package_model.fn(context, prepared, model)


@pytest.fixture
def served(context, package, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    for path, file in package.files.items():
        target = tmp_path / "model" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Storage(context.storage_uri).read_bytes(file))
    return mlflow.pyfunc.load_model(str(tmp_path / "model"), suppress_warnings=True)


def test_raw_strings_are_answered_as_in_training(served, context, prepared, trained):
    found = served.predict(pd.DataFrame({"text": ["A WITTY film!", "a tired film"]}, index=[8, 3]))
    assert found["prediction"].tolist() == ["good", "bad"]
    assert found.index.tolist() == [8, 3]
    import pyarrow.parquet as pq

    storage = Storage(context.storage_uri)
    texts = pq.read_table(storage.path(prepared.snapshot.file)).to_pandas()
    rows = texts.iloc[np.load(storage.path(prepared.train.rows))][["text"]]
    network, inputs, _ = trained
    probabilities = served.predict(rows)[["probability_bad", "probability_good"]].to_numpy()
    assert probabilities == pytest.approx(network.predict(inputs, verbose=0), abs=1e-6)


ODD = [
    "", "   ", "\x00", "\N{GRINNING FACE}", "\u0645\u0631\u062d\u0628\u0627",
    "never seen words only", "witty " * 5_000, None,
]  # fmt: skip


def test_odd_texts_are_answered_and_change_nothing_for_others(served):
    found = served.predict(pd.DataFrame({"text": [*ODD, "a witty film"]}))
    assert np.isfinite(found["probability_good"]).all()
    alone = served.predict(pd.DataFrame({"text": ["a witty film"]}))
    assert found["probability_good"].iloc[-1] == pytest.approx(alone["probability_good"][0])
    assert served.predict(pd.DataFrame({"text": pd.Series([], dtype="str")})).empty


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"text": [1.5]}), "text"),
        (pd.DataFrame({"text": pd.Series(["dull", 7], dtype=object)}), "text"),
        (pd.DataFrame({"title": ["dull"]}), "missing inputs .*text"),
    ],
    ids=["numbers", "a number among texts", "another column"],
)
def test_what_is_no_text_is_refused_by_its_column(served, frame, message):
    with pytest.raises(Exception, match=message):
        served.predict(frame)


def test_a_package_names_what_it_needs_and_holds_no_text(context, package):
    needed = {requirement.partition("==")[0] for requirement in package.requirements}
    assert {"keras", "keras-hub", "tokenizers", "tensorflow"} <= needed
    assert f"tokenizers=={metadata.version('tokenizers')}" in package.requirements
    storage = Storage(context.storage_uri)
    assert "artifacts/texts.py" in package.files
    for name, file in package.files.items():
        if not name.endswith(".keras"):
            assert "film, of" not in storage.read_bytes(file).decode(), name


def test_empty_texts_are_told(prepared):
    assert "1 of 200 texts are empty, or hold nothing but separators." in prepared.warnings


@pytest.mark.parametrize(("architecture", "needed"), [("bert", ("keras-hub",)), ("lstm", ())])
def test_training_tells_what_a_server_of_the_network_needs(context, prepared, architecture, needed):
    from tasks.config import TrainingConfig
    from tasks.training import train_model

    small = {"embedding_size": 8, "attention_heads": 2, "transformer_layers": 1}
    config = ModelConfig(architecture=architecture, recurrent_units=2, **small)
    trained = train_model.fn(context, prepared, config, TrainingConfig(epochs=1))
    assert trained.libraries == needed
