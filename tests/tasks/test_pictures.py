import io
import warnings

import numpy as np
import pytest
from PIL import Image

from tasks import pictures

RANDOM = np.random.default_rng(0)


def size_of(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return Image.open(io.BytesIO(png)).size


def some_rows(classes, rows=60):
    probabilities = RANDOM.dirichlet(np.ones(classes), rows)
    return RANDOM.integers(0, classes, rows), probabilities


@pytest.mark.parametrize("classes", [2, 3, 10, 40])
def test_pictures_are_drawn_for_any_number_of_classes(classes):
    labels, probabilities = some_rows(classes)
    names = [f"class number {number}" for number in range(classes)]
    predicted = probabilities.argmax(axis=1)
    with warnings.catch_warnings(action="error"):
        width, height = size_of(pictures.confusion_matrix(labels, predicted, names))
        assert 400 <= height <= width <= 1500
        assert size_of(pictures.roc_and_precision_recall(labels, probabilities, names))[0] == 1000
        assert size_of(pictures.calibration(labels, probabilities, bins=10))


def test_a_dollar_sign_in_a_name_begins_no_formula():
    labels, probabilities = some_rows(3)
    predicted = probabilities.argmax(axis=1)
    names = ["$", "$$ a^$", r"$\foo$"]
    assert size_of(pictures.confusion_matrix(labels, predicted, names))
    assert size_of(pictures.roc_and_precision_recall(labels, probabilities, names))
    # what is said is what is drawn: a formula would have no dollar signs
    one, other = (
        pictures.confusion_matrix(labels, predicted, ["$5-$6", "b", name]) for name in ("$x$", "x")
    )
    assert one != other


def test_the_same_arrays_give_the_same_bytes():
    labels, probabilities = some_rows(3)
    first, second = (pictures.calibration(labels, probabilities, 10) for _ in range(2))
    assert first == second


def test_one_class_alone_has_no_curves():
    with warnings.catch_warnings(action="error"):
        assert size_of(
            pictures.roc_and_precision_recall(np.zeros(5, int), some_rows(2, 5)[1], ["a", "b"])
        )


@pytest.mark.parametrize(
    ("history", "width"),
    [
        ({"loss": (1.0, 0.5), "val_loss": (1.1, 0.6)}, 480),
        ({"accuracy": (0.5,), "val_accuracy": (0.4,), "loss": (1.0,), "val_loss": (1.1,)}, 960),
        ({"loss": (1.0, 0.5)}, 480),
    ],
)
def test_learning_curves_show_the_loss_and_one_metric_more(history, width):
    assert size_of(pictures.learning_curves(history, best_epoch=1))[0] == width


@pytest.mark.parametrize("channels", [1, 3])
def test_the_most_confident_mistakes_are_shown(channels):
    labels, probabilities = some_rows(3)
    images = RANDOM.integers(0, 256, (60, 5, 5, channels)).astype(np.uint8)
    few = pictures.mistakes(images, labels, probabilities, "abc", maximum=255, shown=4)
    many = pictures.mistakes(images, labels, probabilities, "abc", maximum=255, shown=25)
    assert size_of(few)[1] < size_of(many)[1]


def test_a_model_without_mistakes_gets_an_empty_grid():
    labels = np.array([0, 1])
    images = np.zeros((2, 4, 4, 1), np.uint8)
    assert size_of(pictures.mistakes(images, labels, np.eye(2), "ab", maximum=16, shown=9))


def test_a_regression_gets_a_scatter():
    assert size_of(pictures.predicted_against_true(np.arange(9.0), np.arange(9.0) + 1))
