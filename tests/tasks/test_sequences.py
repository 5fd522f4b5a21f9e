"""Problems of sequences from raw rows to the champion: tags of words, and texts that go on."""

import json
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest

from tasks.appraisal import Slices
from tasks.challenge import _measured, aligned
from tasks.config import EvaluationConfig, GateConfig, ModelConfig
from tasks.evaluation import evaluate_model
from tasks.freshness import Standing
from tasks.handoffs import Column
from tasks.judgement import Hardware, TrainedModel
from tasks.models import build_model
from tasks.models.archive import save_network
from tasks.packaging import package_model
from tasks.promotion import promote_model
from tasks.registration import register_model
from tasks.slice_comparison import Compared
from tasks.storage import Storage
from tasks.verification import verify_model

TEXT = Column(name="text", role="feature", kind="text")
TAGS = Column(name="tags", role="label", kind="text")
HARDWARE = Hardware(backend="tensorflow", devices=("CPU",), precision="float32", cpu_count=2)
PEOPLE = ("Ada", "Grace", "Emmy")
VERBS = ("met", "saw", "thanked")


def sentences(rows=240):
    """Short texts of one or two people; one is longer than the network reads, one is empty."""
    random = np.random.default_rng(0)
    texts, tags = [], []
    for row in range(rows):
        words = [random.choice(PEOPLE), random.choice(VERBS), random.choice(PEOPLE), str(row)]
        texts.append(" ".join(words))
        tags.append("B-person O B-person O")
    texts[0], tags[0] = " ".join(["Ada", *["met"] * 30]), " ".join(["B-person", *["O"] * 30])
    return texts, tags


@pytest.fixture
def prepared_tags(prepare_rows):
    import pyarrow as pa

    texts, tags = sentences()
    return prepare_rows(
        (TEXT, TAGS), [pa.array(texts), pa.array(tags)], problem="token_classification",
        tokens="word_pieces", vocabulary_size=120, text_length=16,
    )  # fmt: skip


@pytest.fixture
def prepared_texts(prepare_rows):
    import pyarrow as pa

    return prepare_rows(
        (TEXT,), [pa.array(sentences()[0])], problem="text_generation",
        tokens="byte_pairs", vocabulary_size=300, text_length=16,
    )  # fmt: skip


@pytest.fixture
def finish(context):
    """Trains a small network in the plainest way, and runs the stages after that."""

    def make(prepared, epochs=6, fingerprint="a", minimum_rows=10):
        storage = Storage(context.storage_uri)
        architecture = "gpt2" if prepared.snapshot.problem == "text_generation" else "bert"
        config = ModelConfig(
            architecture=architecture, transformer_layers=1, attention_heads=2, embedding_size=16,
            dropout=0,
        )  # fmt: skip
        network = build_model(config, prepared)
        inputs, labels = (
            np.load(storage.path(file)) for file in (prepared.train.inputs, prepared.train.labels)
        )
        network.compile("adam", "sparse_categorical_crossentropy")
        network.optimizer.learning_rate = 0.02
        weights = (labels >= 0).astype(float)
        network.fit(inputs, np.maximum(labels, 0), sample_weight=weights, epochs=epochs, verbose=0)
        with storage.workspace() as folder:
            save_network(network, folder / "network.keras")
            stored = storage.put_file(folder / "network.keras")
        trained = TrainedModel(
            network=stored, parameters=network.count_params(), history={}, best_epoch=1,
            resumed_from=0, seconds=1.0, rows_per_second=1.0, seed=0, hardware=HARDWARE,
            summary=storage.put_bytes(b"one", ".txt"), libraries=("keras-hub",),
        )  # fmt: skip
        evaluation = evaluate_model.fn(context, prepared, trained, EvaluationConfig())
        package = package_model.fn(context, prepared, trained)
        standing = Standing(
            fingerprint=fingerprint * 64, parts={}, up_to_date=False, reason="", sentence=""
        )
        registered = register_model.fn(context, package, prepared, evaluation, standing)
        proof = verify_model.fn(context, registered, prepared, evaluation)
        metric = "perplexity" if architecture == "gpt2" else "f1"
        gate = GateConfig(metric=metric, minimum_rows=minimum_rows)
        promotion = promote_model.fn(
            context, registered, proof, prepared, evaluation, package, Slices(), gate
        )
        return SimpleNamespace(
            evaluation=evaluation, package=package, proof=proof, promotion=promotion
        )

    return make


@pytest.fixture
def load(context, tmp_path):
    """The package as a server loads it."""

    def make(package):
        for path, file in package.files.items():
            target = tmp_path / "model" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(Storage(context.storage_uri).read_bytes(file))
        return mlflow.pyfunc.load_model(str(tmp_path / "model"), suppress_warnings=True)

    return make


def test_tags_of_words_land_a_champion_that_is_compared_with(context, prepared_tags, finish, load):
    first = finish(prepared_tags)
    metrics, baselines = first.evaluation.metrics, first.evaluation.baselines
    assert metrics["f1"] > 0.9
    assert baselines["majority"]["f1"] == 0.0
    assert baselines["lookup"]["f1"] > 0.9
    assert set(first.evaluation.pictures) == {"confusion_matrix.png"}
    assert first.proof.largest_difference < 1e-4
    assert first.promotion.champion == 1
    second = finish(prepared_tags, epochs=1, fingerprint="b")
    assert second.promotion.compared_rows == prepared_tags.test.count
    assert second.promotion.champion_metrics == pytest.approx(metrics)

    served = load(first.package)
    asked = ["Ada met  Emmy 7", "", "Grace saw " + "nobody " * 40 + "Ada", None, "7 \N{GHOST}"]
    frame = served.predict(pd.DataFrame({"text": asked}, index=[4, 5, 6, 7, 8]))
    assert frame["prediction"][4] == "B-person O B-person O"
    assert [entity["text"] for entity in frame["entities"][4]] == ["Ada", "Emmy"]
    assert frame["prediction"][5] == frame["prediction"][7] == ""
    # what is beyond the length is no entity, for sure
    assert frame["prediction"][6].split()[14:] == ["O"] * 29
    assert frame["probability_O"][6][-1] == 1.0
    assert [len(frame[f"probability_{tag}"][8]) for tag in ("O", "B-person")] == [2, 2]
    assert served.predict(pd.DataFrame({"text": pd.Series([], dtype="str")})).empty
    described = served.metadata.get_output_schema().to_dict()
    assert described[1]["name"] == "entities"
    assert described[2] == {
        "type": "array", "items": {"type": "double"}, "name": "probability_O", "required": True,
    }  # fmt: skip


def test_texts_that_go_on_land_a_champion_and_continue(context, prepared_texts, finish, load):
    made = finish(prepared_texts, epochs=15)
    metrics, storage = made.evaluation.metrics, Storage(context.storage_uri)
    assert metrics["perplexity"] < 0.5 * made.evaluation.baselines["unigram"]["perplexity"]
    assert 0 <= metrics["bleu"] <= 100
    assert 0 < metrics["rouge_l"] <= 1
    assert made.promotion.champion == 1
    table = json.loads(storage.read_bytes(made.evaluation.tables["generated.json"]))
    assert table["columns"] == ["beginning", "generated", "true"]
    assert table["data"][0][0].split()[1] in VERBS

    served = load(made.package)
    frame = pd.DataFrame({"text": ["Ada met", "", "Ada " * 40]})
    greedy = served.predict(frame, params={"max_new_tokens": 2, "temperature": 0.0})
    assert greedy["prediction"][0].split()[0].title() in PEOPLE
    assert greedy["prediction"][1].split()[0].title() in PEOPLE
    assert all(isinstance(value, float) for value in greedy["log_probabilities"][0])
    seeded = [served.predict(frame, params={"seed": seed})["prediction"] for seed in (1, 1, 2)]
    assert seeded[0].tolist() == seeded[1].tolist() != seeded[2].tolist()
    # a model that reads 16 tokens is not asked for the usual 32
    assert [param.default for param in served.metadata.get_params_schema()] == [15, 1.0, 0]
    with pytest.raises(ValueError, match="max_new_tokens is 99; expected 0 to 15"):
        served.predict(frame, params={"max_new_tokens": 99})


def test_personal_texts_are_not_shown(context, prepared_texts, finish):
    snapshot = prepared_texts.snapshot
    hidden = (TEXT.model_copy(update={"personal": True}),)
    personal = prepared_texts.model_copy(
        update={"snapshot": snapshot.model_copy(update={"columns": hidden})}
    )
    made = finish(personal, epochs=1)
    assert made.evaluation.tables == {}
    assert "bleu" in made.evaluation.metrics


def test_language_models_are_compared_on_texts_that_both_have_read():
    nan = np.nan
    truth = np.array([[1, 2, 3, -1], [1, 2, -1, -1], [4, -1, -1, -1]])
    ours = np.where(truth >= 0, np.log(0.5), nan)
    # in the champion's tokens the first text is longer than it reads
    theirs = np.log([[0.5, 0.5, nan], [0.5, nan, nan], [0.25, nan, nan]])
    gate = GateConfig(metric="perplexity", minimum_rows=1)
    both = Compared("text_generation", truth, ours, theirs, classes=(), clusters=None)
    found = _measured(3, both, Slices(), None, gate)
    assert found.rows == 2
    assert found.challenger["perplexity"] == pytest.approx(2)
    # the whole of both texts, by as many tokens as today's
    assert found.champion["perplexity"] == pytest.approx((2 * 4) ** (1 / 3))
    few = _measured(3, both, Slices(), None, gate.model_copy(update={"minimum_rows": 3}))
    assert "only 2 of these 3 test texts are short enough for both" in few.obstacle


def test_a_champion_of_other_tags_is_aligned_by_their_names():
    nan = np.nan
    values = np.array([[[0.2, 0.8], [nan, nan]]], np.float32)
    found = aligned(values, ("probability_B-x", "probability_O"), ("O", "B-new", "B-x"))
    assert found[0, 0].tolist() == pytest.approx([0.8, 0.0, 0.2])
    assert np.isnan(found[0, 1]).all()
    logs = np.array([[[-1.0], [nan]]], np.float32)
    assert aligned(logs, ("log_probabilities",), ()).shape == (1, 2)
