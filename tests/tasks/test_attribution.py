import keras
import numpy as np
import pytest

from tasks import attribution, layers
from tasks.config import ModelConfig
from tasks.models import MODELS
from tasks.models.ends import Ends

SIZE, SQUARE = 12, 3
WORDS, LENGTH, PADDING, PLANTED = 30, 8, 0, 5
IMAGES = Ends((SIZE, SIZE, 1), kind="image", pixel_maximum=255, classes=2)
TEXTS = Ends((LENGTH,), kind="text", classes=2, vocabulary=WORDS, padding=PADDING)


def build(architecture, ends, **fields):
    keras.utils.set_random_seed(0)
    config = ModelConfig(architecture=architecture, hidden_units=[], dropout=0, **fields)
    return MODELS[architecture](ends, config)


def fit(network, inputs, labels, epochs):
    network.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    network.fit(inputs, labels, batch_size=32, epochs=epochs, verbose=0)
    return keras.ops.convert_to_numpy(network(inputs)).argmax(axis=1)


def integrated(network, inputs, wanted, kept=None, steps=32):
    found = attribution.integrated_gradients(network, inputs, wanted, steps, kept)
    return found.values.sum(axis=-1), found


@pytest.fixture(scope="module")
def squares():
    """A convolutional network that saw noise, half of it with a white square that is the class."""
    random = np.random.default_rng(0)
    images = random.integers(0, 90, (240, SIZE, SIZE, 1)).astype(np.uint8)
    labels = np.arange(240) % 2
    corners = random.integers(0, SIZE - SQUARE + 1, (240, 2))
    for image, label, (top, left) in zip(images, labels, corners, strict=True):
        if label:
            image[top : top + SQUARE, left : left + SQUARE] = 255
    network = build("cnn", IMAGES, filters=[8])
    assert np.mean(fit(network, images, labels, epochs=8) == labels) > 0.95
    inside = np.zeros((240, SIZE, SIZE), bool)
    for place, (top, left) in zip(inside, corners, strict=True):
        place[top : top + SQUARE, left : left + SQUARE] = True
    return network, images[1:40:2], inside[1:40:2]


def test_the_heat_is_where_the_white_square_is_that_decides_the_class(squares):
    network, images, inside = squares
    heat, _ = integrated(network, images, np.ones(len(images), np.int64))
    hottest = heat.reshape(len(heat), -1).argmax(axis=1)
    assert np.mean(inside.reshape(len(heat), -1)[np.arange(len(heat)), hottest]) > 0.9
    # nine of 144 pixels
    mine, all_of_it = (np.abs(heat) * inside).sum(axis=(1, 2)), np.abs(heat).sum(axis=(1, 2))
    assert np.median(mine / all_of_it) > 0.5


def test_the_last_convolution_finds_the_white_square(squares):
    network, images, inside = squares
    found = attribution.grad_cam(network, images, np.ones(len(images), np.int64))
    assert found.shape == (len(images), SIZE, SIZE)
    assert found.min() >= 0
    of_square, elsewhere = found[inside].mean(), found[~inside].mean()
    assert of_square > 5 * elsewhere
    hottest = found.reshape(len(found), -1).argmax(axis=1)
    assert np.mean(inside.reshape(len(found), -1)[np.arange(len(found)), hottest]) > 0.8


def test_a_network_without_convolutions_has_no_grad_cam():
    images = np.zeros((1, SIZE, SIZE, 1), np.uint8)
    assert attribution.grad_cam(build("mlp", IMAGES), images, np.zeros(1, np.int64)) is None


@pytest.mark.parametrize(
    ("architecture", "fields"),
    [
        ("text_cnn", {"filters": [8], "embedding_size": 8}),
        ("lstm", {"recurrent_units": 8, "embedding_size": 8, "bidirectional": False}),
        pytest.param(
            "bert",
            {"transformer_layers": 1, "attention_heads": 2, "embedding_size": 8},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_word_that_decides_the_class_has_the_largest_attribution(architecture, fields):
    random = np.random.default_rng(1)
    tokens = random.integers(6, WORDS, (192, LENGTH)).astype(np.int32)
    tokens[:, 6:] = PADDING
    labels = np.arange(192) % 2
    places = random.integers(0, 6, 192)
    tokens[labels == 1, places[labels == 1]] = PLANTED
    network = build(architecture, TEXTS, **fields)
    assert np.mean(fit(network, tokens, labels, epochs=12) == labels) > 0.95
    planted, wanted = tokens[1:30:2], np.ones(15, np.int64)
    each, found = integrated(network, planted, wanted, planted == PADDING)
    assert np.mean(each.argmax(axis=1) == places[1:30:2]) > 0.9
    assert np.all(each[planted == PADDING] == 0)
    assert np.median(np.abs(each.sum(axis=1) - (found.end - found.start))) < 0.03


def test_integrated_gradients_are_complete(squares):
    """Proposition 1 of Sundararajan et al.: they sum to the difference of the outputs."""
    network, images, _ = squares
    heat, found = integrated(network, images, np.ones(len(images), np.int64))
    outputs = keras.ops.convert_to_numpy(network(images))
    black = keras.ops.convert_to_numpy(network(np.zeros_like(images)))
    assert found.end == pytest.approx(outputs[:, 1], abs=1e-6)
    assert found.start == pytest.approx(black[:, 1], abs=1e-6)
    assert np.abs(found.end - found.start).min() > 0.3
    assert heat.sum(axis=(1, 2)) == pytest.approx(found.end - found.start, abs=0.01)


def test_of_a_linear_network_they_are_weights_times_pixels():
    network = keras.Sequential(
        [
            keras.Input((2, 2, 1), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    weights = np.array([[1.0], [-2.0], [0.5], [0.0]], np.float32)
    network.layers[-1].set_weights([weights, np.array([3.0], np.float32)])
    images = np.array([[51, 102], [0, 255]], np.uint8).reshape(1, 2, 2, 1)
    each, found = integrated(network, images, np.zeros(1, np.int64), steps=4)
    assert each.ravel() == pytest.approx([0.2, -0.8, 0.0, 0.0], abs=1e-6)
    assert (found.start[0], found.end[0]) == (pytest.approx(3.0), pytest.approx(2.4))


def test_an_output_of_each_token_is_explained_by_the_tokens_before_it_only():
    ends = Ends((LENGTH,), "text_generation", "text", None, WORDS, 0.0, 1.0, (), WORDS, PADDING)
    sizes = {"transformer_layers": 1, "attention_heads": 2, "embedding_size": 8}
    network = build("gpt2", ends, **sizes)
    tokens = np.arange(1, 1 + LENGTH, dtype=np.int32)[None]
    wanted = np.array([3 * WORDS + 7])
    each, found = integrated(network, tokens, wanted)
    assert np.all(each[0, 4:] == 0)
    assert np.all(each[0, :4] != 0)
    assert found.end[0] == pytest.approx(float(network(tokens)[0, 3, 7]), abs=1e-6)


def test_few_rows_at_once_give_what_many_do(squares, monkeypatch):
    network, images, _ = squares
    wanted = np.arange(4) % 2
    many, _ = integrated(network, images[:4], wanted, steps=4)
    regions = attribution.grad_cam(network, images[:4], wanted)
    monkeypatch.setattr(attribution, "NUMBERS_AT_ONCE", 1)
    few, _ = integrated(network, images[:4], wanted, steps=4)
    assert few == pytest.approx(many, abs=1e-6)
    assert attribution.grad_cam(network, images[:4], wanted) == pytest.approx(regions, abs=1e-4)


def test_asking_inside_leaves_a_network_as_it_was(squares):
    network, images, _ = squares
    before = keras.ops.convert_to_numpy(network(images))
    integrated(network, images, np.zeros(len(images), np.int64), steps=4)
    attribution.grad_cam(network, images, np.zeros(len(images), np.int64))
    assert np.array_equal(keras.ops.convert_to_numpy(network(images)), before)


def test_the_activations_of_all_layers_also_inside_of_a_backbone(squares):
    network, images, _ = squares
    found = layers.activations(network, images[:1])
    assert list(found) == ["rescaled", "convolution_1", "pooling_1", "flat", "probabilities"]
    assert found["convolution_1"].shape == (SIZE, SIZE, 8)
    assert found["rescaled"] == pytest.approx(images[0] / 255)
    sizes = {"transformer_layers": 1, "attention_heads": 2, "embedding_size": 8}
    inner = layers.activations(build("bert", TEXTS, **sizes), np.ones((1, LENGTH), np.int32))
    assert inner["backbone/transformer_layer_0"].shape == (LENGTH, 8)
