from dataclasses import replace

import keras
import numpy as np
import pytest

from tasks.fitting import FitSettings, fit
from tasks.fitting.objectives import labels_and_weights

SETTINGS = FitSettings("classification", epochs=2, batch_size=16, learning_rate=0.02, seed=1)
SEQUENCES = replace(SETTINGS, problem="token_classification", epochs=1, batch_size=8)


def network(classes: int = 2) -> keras.Model:
    keras.utils.set_random_seed(1)
    dense = keras.layers.Dense(classes, activation="softmax")
    return keras.Sequential([keras.Input((4,)), dense])


def rows(count: int = 64) -> tuple[np.ndarray, np.ndarray]:
    inputs = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    return inputs, (inputs[:, 0] > 0).astype(np.int32)


def tagger() -> keras.Model:
    keras.utils.set_random_seed(2)
    layers = keras.layers
    inputs = keras.Input((5,), dtype="int32")
    # the mask goes on to the loss, as that of a pretrained backbone may
    looked_up = layers.Embedding(10, 6, mask_zero=True)(inputs)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(looked_up))


def tagged() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    tokens = random.integers(1, 10, (8, 5)).astype(np.int32)
    labels = (tokens % 3).astype(np.int32)
    tokens[:, 4] = 0
    labels[:, 3:] = -1
    labels[0] = -1
    return tokens, labels


def test_integer_and_one_hot_labels_give_the_same_network() -> None:
    models = [network(), network()]
    for model, labels in zip(models, ("integer", "one_hot"), strict=True):
        result = fit(model, rows(), rows(), replace(SETTINGS, labels=labels))
        assert set(result.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for one, two in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        assert one == pytest.approx(two, abs=1e-5)


def test_smoothed_labels_make_less_certain() -> None:
    certain = []
    for share in (0.0, 0.4):
        model = network()
        settings = replace(SETTINGS, epochs=25, labels="one_hot", label_smoothing=share)
        fit(model, rows(), rows(), settings)
        certain.append(model.predict(rows()[0], verbose=0).max(axis=1).mean())
    assert certain[1] < certain[0] - 0.05


def test_class_weights_hold_for_one_hot_labels_too() -> None:
    labels, weights = labels_and_weights(
        np.array([0, 1, 1]), 2, replace(SETTINGS, labels="one_hot", class_weights=(2.0, 0.5))
    )
    assert labels.tolist() == [[1, 0], [0, 1], [0, 1]]
    assert weights is not None
    assert weights.tolist() == [2.0, 0.5, 0.5]


def test_tokens_without_a_label_count_for_nothing() -> None:
    model, (tokens, labels) = tagger(), tagged()
    probabilities = model.predict(tokens, verbose=0)
    known = labels >= 0
    of_label = np.take_along_axis(probabilities, np.maximum(labels, 0)[..., None], 2)[..., 0]
    expected = -np.log(of_label[known]).mean()
    right = (probabilities.argmax(2) == labels)[known].mean()
    result = fit(model, (tokens, labels), (tokens, labels), replace(SEQUENCES, learning_rate=1e-9))
    for side in ("", "val_"):
        assert result.history[f"{side}loss"] == pytest.approx((expected,), rel=1e-4)
        assert result.history[f"{side}accuracy"] == pytest.approx((right,), abs=1e-6)


def test_tokens_with_a_label_are_learnt() -> None:
    result = fit(tagger(), tagged(), tagged(), replace(SEQUENCES, epochs=40, learning_rate=0.1))
    assert result.history["val_accuracy"][-1] == 1.0


def test_absolute_error_learns_the_median() -> None:
    inputs = np.ones((100, 1), np.float32)
    values = np.where(np.arange(100) < 80, 1.0, 100.0).astype(np.float32)
    settings = replace(SETTINGS, problem="regression", epochs=30, learning_rate=0.05)
    found = []
    for loss in ("auto", "absolute_error"):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        fit(model, (inputs, values), (inputs, values), replace(settings, loss=loss))
        found.append(float(model.predict(inputs[:1], verbose=0)[0, 0]))
    assert found[0] > 5
    assert found[1] == pytest.approx(1.0, abs=0.3)
