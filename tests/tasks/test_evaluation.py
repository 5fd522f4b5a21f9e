import json

import numpy as np
import pytest

from tasks.config import EvaluationConfig
from tasks.evaluation import evaluate_model, expected_tolerance
from tasks.storage import Storage


def test_the_model_and_its_baselines_are_measured_on_the_test_rows(
    context, prepare_table, train_quickly
):
    prepared = prepare_table()
    trained = train_quickly(prepared)
    evaluation = evaluate_model.fn(context, prepared, trained, EvaluationConfig())
    assert evaluation.rows == prepared.test.count
    assert evaluation.metrics["accuracy"] > evaluation.baselines["majority"]["accuracy"]
    assert set(evaluation.baselines) == {"majority", "linear"}
    storage = Storage(context.storage_uri)
    predictions = storage.array(evaluation.predictions)
    assert (predictions.shape, predictions.dtype) == ((prepared.test.count, 2), np.float32)
    report = json.loads(storage.read_bytes(evaluation.report))
    assert report["metrics"] == evaluation.metrics
    assert set(evaluation.pictures) == {
        "learning_curves.png",
        "confusion_matrix.png",
        "roc_and_precision_recall.png",
        "calibration.png",
    }


def test_images_get_a_grid_of_mistakes_and_are_served_raw(context, prepare_images, release):
    from tasks.prover import predict_registered

    prepared_images = prepare_images()
    made = release(prepared_images)
    assert "mistakes.png" in made.evaluation.pictures
    snapshot = prepared_images.snapshot
    found = predict_registered(context, made.registered.uri, snapshot, np.array([0, 199]))
    assert found.columns == ("probability_0", "probability_1")


def test_personal_images_are_never_shown(context, prepare_images, train_quickly):
    prepared_images = prepare_images()
    snapshot = prepared_images.snapshot
    columns = (snapshot.columns[0].model_copy(update={"personal": True}), snapshot.columns[1])
    personal = prepared_images.model_copy(
        update={"snapshot": snapshot.model_copy(update={"columns": columns})}
    )
    trained = train_quickly(personal)
    evaluation = evaluate_model.fn(context, personal, trained, EvaluationConfig())
    assert "mistakes.png" not in evaluation.pictures


def test_a_regression_is_measured_against_the_mean(context, prepare_table, train_quickly):
    prepared = prepare_table(problem="regression")
    trained = train_quickly(prepared)
    evaluation = evaluate_model.fn(context, prepared, trained, EvaluationConfig())
    assert evaluation.metrics["mae"] < evaluation.baselines["mean"]["mae"]
    assert set(evaluation.pictures) == {"learning_curves.png", "predicted_against_true.png"}
    columns = [c.model_copy(update={"personal": True}) for c in prepared.snapshot.columns]
    snapshot = prepared.snapshot.model_copy(update={"columns": tuple(columns)})
    hidden = prepared.model_copy(update={"snapshot": snapshot})
    evaluation = evaluate_model.fn(context, hidden, trained, EvaluationConfig())
    assert set(evaluation.pictures) == {"learning_curves.png"}


@pytest.mark.parametrize(
    ("precision", "device", "tolerance"),
    [
        ("float32", "CPU x86_64", 1e-4),
        ("float32", "NVIDIA H200", 2e-3),
        ("mixed_bfloat16", "NVIDIA H200", 2e-3),
    ],
)
def test_less_exact_hardware_may_differ_more(
    prepare_table, train_quickly, precision, device, tolerance
):
    trained = train_quickly(prepare_table())
    hardware = trained.hardware.model_copy(update={"precision": precision, "devices": (device,)})
    assert expected_tolerance(trained.model_copy(update={"hardware": hardware})) == tolerance
