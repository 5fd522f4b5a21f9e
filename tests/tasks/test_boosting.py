import numpy as np
import pytest

from tasks import tracking
from tasks.config import EvaluationConfig, ModelConfig, TrainingConfig
from tasks.errors import ConfigError, TrainingDiverged
from tasks.evaluation import evaluate_model
from tasks.evidence import outcome_of
from tasks.models.archive import load_network
from tasks.packaging import package_model
from tasks.registration import network_file
from tasks.storage import Storage
from tasks.training import train_model

MODEL = ModelConfig(architecture="boosting", leaf_nodes=4, leaf_rows=5)
TRAINING = TrainingConfig(epochs=30, learning_rate=0.2, patience=5)


@pytest.fixture
def boost(context):
    def train(prepared, model=MODEL, **changes):
        training = TRAINING.model_copy(update=changes)
        return train_model.fn(context, prepared, model, training)

    return train


def losses(storage, prepared, trained):
    """Log loss of the stored trees on the validation rows."""
    network = load_network(storage.path(trained.network))
    inputs, labels = (
        np.load(storage.path(file))
        for file in (prepared.validation.inputs, prepared.validation.labels)
    )
    return -np.log(network(inputs)[np.arange(len(labels)), labels]).mean()


def test_the_rounds_after_the_best_are_left_out(context, prepare_table, boost):
    prepared = prepare_table()
    trained = boost(prepared)
    validation = trained.history["val_loss"]
    assert trained.best_epoch == np.argmin(validation) + 1 < len(validation)
    found = losses(Storage(context.storage_uri), prepared, trained)
    assert found == pytest.approx(min(validation), abs=1e-5)


def test_it_stops_once_no_round_has_been_better_for_too_long(prepare_table, boost):
    prepared = prepare_table()
    assert len(boost(prepared, patience=2).history["val_loss"]) < 30
    assert len(boost(prepared, patience=0).history["val_loss"]) == 30


def test_it_learns_and_is_judged_like_a_network(context, prepare_table, boost):
    prepared = prepare_table()
    trained = boost(prepared)
    evaluation = evaluate_model.fn(context, prepared, trained, EvaluationConfig())
    assert evaluation.metrics["accuracy"] > evaluation.baselines["majority"]["accuracy"] + 0.1
    assert "learning_curves.png" in evaluation.pictures
    assert outcome_of(trained).startswith(f"best epoch {trained.best_epoch} of ")


def test_values_are_in_their_unit_and_so_are_the_losses(context, prepare_table, boost):
    prepared = prepare_table(problem="regression")
    trained = boost(prepared, epochs=60)
    evaluation = evaluate_model.fn(context, prepared, trained, EvaluationConfig())
    assert evaluation.metrics["mae"] < evaluation.baselines["mean"]["mae"] / 5
    storage = Storage(context.storage_uri)
    network = load_network(storage.path(trained.network))
    validation = prepared.validation
    inputs, targets = (np.load(storage.path(f)) for f in (validation.inputs, validation.labels))
    error = np.mean((network(inputs)[:, 0] - targets) ** 2)
    assert trained.history["val_loss"][trained.best_epoch - 1] == pytest.approx(error, rel=1e-3)


def test_rare_labels_weigh_more_where_asked_for(context, prepare_table, boost):
    prepared, storage = prepare_table(), Storage(context.storage_uri)
    inputs = np.load(storage.path(prepared.test.inputs))
    means = [
        load_network(storage.path(boost(prepared, class_weights=kind).network))(inputs).mean(axis=0)
        for kind in ("none", "balanced")
    ]
    rare = int(np.argmin(prepared.train.label_counts))
    assert means[1][rare] > means[0][rare]


def test_every_round_is_in_the_run_also_beyond_what_one_call_takes(
    context, prepare_table, boost, monkeypatch
):
    monkeypatch.setattr(tracking, "METRICS_PER_CALL", 7)
    trained = boost(prepare_table())
    rounds = len(trained.history["val_loss"])
    assert tracking.logged_epochs(context, "val_loss") == set(range(1, rounds + 1))


def test_the_package_holds_onnx_and_asks_for_no_keras(context, prepare_table, boost):
    prepared = prepare_table()
    package = package_model.fn(context, prepared, boost(prepared))
    names = {requirement.partition("==")[0] for requirement in package.requirements}
    assert "onnxruntime" in names
    assert not names & {"keras", "tensorflow", "scikit-learn"}
    assert network_file(package) == package.files["artifacts/network.onnx"]


def test_a_fresh_process_reproduces_the_registered_trees(context, prepare_table, boost):
    from tasks.freshness import Standing
    from tasks.registration import register_model
    from tasks.verification import verify_model

    prepared = prepare_table()
    trained = boost(prepared)
    evaluation = evaluate_model.fn(context, prepared, trained, EvaluationConfig())
    package = package_model.fn(context, prepared, trained)
    standing = Standing(
        fingerprint="a" * 64, parts={}, up_to_date=False, reason="first", sentence="first"
    )
    registered = register_model.fn(context, package, prepared, evaluation, standing)
    assert verify_model.fn(context, registered, prepared, evaluation).largest_difference <= 1e-6


def test_images_codes_and_other_weights_are_refused(prepare_images, prepare_table, boost):
    with pytest.raises(ConfigError, match=r"'boosting' got rows of kind 'image'"):
        boost(prepare_images())
    prepared = prepare_table()
    with pytest.raises(ConfigError, match=r"1 categories as codes.*categories=one_hot"):
        boost(prepared.model_copy(update={"codes": (3,)}))
    with pytest.raises(ConfigError, match="trees have none"):
        boost(prepared, MODEL.model_copy(update={"initial_weights": "models:/churn@champion"}))


def test_a_loss_that_is_not_finite_is_a_sentence(context, prepare_table, boost, monkeypatch):
    from sklearn.ensemble import HistGradientBoostingClassifier

    original = HistGradientBoostingClassifier.fit

    def fit(self, *arguments, **options):
        original(self, *arguments, **options)
        self.validation_score_ = np.full_like(self.validation_score_, np.nan)

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", fit)
    with pytest.raises(TrainingDiverged, match=r"val_loss that is not a finite number.*=0\.02"):
        boost(prepare_table())
