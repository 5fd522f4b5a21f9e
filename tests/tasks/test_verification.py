import json

import numpy as np
import pytest

from tasks import tracking
from tasks.errors import ProofFailed
from tasks.storage import Storage
from tasks.verification import chosen_rows, in_one_width, largest_difference, verify_model


def test_a_fresh_process_reproduces_the_predictions(context, prepare_table, release):
    made = release(prepare_table())
    proof = verify_model.fn(context, made.registered, made.prepared, made.evaluation)
    assert proof.uri == "models:/trial/1"
    assert proof.rows == made.prepared.test.count
    assert proof.largest_difference <= 1e-4
    version = tracking.client(context.mlflow_uri).get_model_version("trial", "1")
    assert json.loads(version.tags["roundhouse.proof"])["rows"] == proof.rows


def test_a_regression_is_proved_too(context, prepare_table, release):
    made = release(prepare_table(problem="regression"))
    proof = verify_model.fn(context, made.registered, made.prepared, made.evaluation)
    assert proof.largest_difference <= proof.tolerance


def test_other_predictions_than_in_training_are_refused(context, prepare_table, release):
    made = release(prepare_table())
    storage = Storage(context.storage_uri)
    with storage.workspace() as folder:
        shape = (made.evaluation.rows, 2)
        np.save(folder / "other.npy", np.full(shape, 0.5, np.float32))
        other = made.evaluation.model_copy(
            update={"predictions": storage.put_file(folder / "other.npy")}
        )
    with pytest.raises(ProofFailed, match=r"predicts other than in training: .* 0\.0001 at most"):
        verify_model.fn(context, made.registered, made.prepared, other)


def test_a_package_of_other_labels_is_refused(context, prepare_table, release):
    made = release(prepare_table())
    other = made.prepared.model_copy(update={"classes": ("stays", "goes")})
    with pytest.raises(ProofFailed, match=r"expected .* of probability_stays, probability_goes"):
        verify_model.fn(context, made.registered, other, made.evaluation)


def test_a_large_test_side_is_proved_by_evenly_spaced_rows():
    assert chosen_rows(3).tolist() == [0, 1, 2]
    chosen = chosen_rows(10_000)
    assert (len(chosen), chosen[0], chosen[-1]) == (2_000, 0, 9_999)


def test_large_values_may_differ_in_proportion():
    expected = np.array([1000.0, -2.0], np.float32)
    assert largest_difference(expected + 1, expected) == pytest.approx(1e-3)
    assert np.isnan(largest_difference(np.array([np.nan, 0], np.float32), expected))


def test_what_neither_says_is_no_difference():
    expected = np.array([[0.5, np.nan], [0.25, 0.75]], np.float32)
    assert largest_difference(expected, expected) == 0.0
    assert largest_difference(expected + 0.125, expected) == 0.125
    # in both directions: one of them knows of a word, or a token, that the other does not
    other = np.array([[0.5, 0.5], [0.25, 0.75]], np.float32)
    assert np.isnan(largest_difference(other, expected))
    assert np.isnan(largest_difference(expected, other))
    narrow, wide = in_one_width(np.ones((2, 1, 3), np.float32), np.ones((2, 2, 3), np.float32))
    assert narrow.shape == wide.shape
    assert np.isnan(largest_difference(narrow, wide))
