import math

import numpy as np
import pytest

from tasks.metrics import (
    HIGHER_IS_BETTER,
    calibration_bins,
    is_better,
    known_metrics,
    measure,
    scaled_to_one,
)

# four rows, two classes: the second row is wrong
LABELS = np.array([0, 0, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])


def test_binary_metrics_are_those_done_by_hand():
    found = measure("classification", LABELS, PROBABILITIES)
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == found["recall_macro"] == pytest.approx((0.5 + 1) / 2)
    assert found["precision_macro"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["f1_macro"] == pytest.approx((2 / 3 + 0.8) / 2)
    assert found["log_loss"] == pytest.approx(-np.mean(np.log([0.9, 0.4, 0.8, 0.7])))
    assert found["brier"] == pytest.approx(np.mean([0.01, 0.36, 0.04, 0.09]))
    assert found["roc_auc"] == 1.0
    assert found["pr_auc"] == 1.0


def test_calibration_error_weighs_bins_by_their_rows():
    found = measure("classification", LABELS, PROBABILITIES, bins=2)
    # one bin holds all: mean confidence (0.9 + 0.6 + 0.8 + 0.7) / 4 against 3 of 4 right
    assert found["calibration_error"] == pytest.approx(0.0)
    found = measure("classification", LABELS, PROBABILITIES, bins=10)
    assert found["calibration_error"] == pytest.approx((0.1 + 0.6 + 0.2 + 0.3) / 4)


def test_more_classes_are_averaged_and_brier_is_the_sum_over_classes():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1]])
    found = measure("classification", np.array([0, 1, 2]), probabilities)
    assert found["recall_macro"] == pytest.approx(2 / 3)
    assert found["brier"] == pytest.approx((0.06 + 0.06 + 0.25 + 0.16 + 0.81) / 3)
    assert found["roc_auc"] == pytest.approx((1 + 1 + 0.5) / 3)


def test_what_is_undefined_without_a_class_is_left_out():
    found = measure("classification", np.zeros(4, int), np.eye(3)[[0, 0, 1, 0]])
    assert "roc_auc" not in found
    assert "pr_auc" not in found
    assert found["balanced_accuracy"] == 0.75
    assert all(map(math.isfinite, found.values()))


def test_regression_metrics_are_those_done_by_hand():
    found = measure("regression", np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 5.0]))
    assert found == pytest.approx({"mae": 2 / 3, "rmse": math.sqrt(4 / 3), "r2": -1.0})
    assert "r2" not in measure("regression", np.ones(1), np.ones(1))


def test_each_metric_knows_its_better_side():
    measured = {*measure("classification", LABELS, PROBABILITIES)}
    assert measured == set(known_metrics("classification"))
    problems = ("regression", "token_classification", "text_generation")
    named = {name for problem in problems for name in known_metrics(problem)}
    assert measured | named == set(HIGHER_IS_BETTER)
    assert is_better("accuracy", 0.9, 0.8)
    assert is_better("log_loss", 0.8, 0.9)
    assert not is_better("accuracy", 0.9, 0.9)


def test_a_row_of_zeros_says_nothing():
    assert scaled_to_one(np.array([[0, 0], [1, 3]])).tolist() == [[0.5, 0.5], [0.25, 0.75]]


def test_a_bin_holds_its_upper_edge():
    probabilities = np.array([[0.5, 0.5], [0.4, 0.6], [0.1, 0.9], [0.0, 1.0]])
    share, confidence, accuracy = calibration_bins(np.array([0, 1, 0, 1]), probabilities, 2)
    assert share.tolist() == [0.25, 0.75]
    assert confidence == pytest.approx([0.5, 2.5 / 3])
    assert accuracy == pytest.approx([1, 2 / 3])
