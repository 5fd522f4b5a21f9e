import keras
import numpy as np

from tasks.config import ModelConfig
from tasks.models.cnn import build
from tasks.models.ends import Ends

ENDS = Ends(input_shape=(8, 8, 1), kind="image", pixel_maximum=255, classes=3)


def kinds(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


def network(**changes: object) -> keras.Model:
    config = ModelConfig(architecture="cnn", filters=(4, 6), hidden_units=(), dropout=0)
    return build(ENDS, config.model_copy(update=changes))


def test_each_block_has_as_many_convolutions_as_asked_for() -> None:
    pooled = ["Conv2D", "Conv2D", "Conv2D", "MaxPooling2D"]
    assert kinds(network(convolutions=3))[2:-2] == pooled * 2


def test_normalised_convolutions_have_no_bias_of_their_own() -> None:
    model = network(batch_normalization=True)
    block = ["Conv2D", "BatchNormalization", "ReLU", "MaxPooling2D"]
    assert kinds(model)[2:-2] == block * 2
    assert not model.get_layer("convolution_1").use_bias


def test_normalisation_is_that_of_the_training_rows_when_it_predicts() -> None:
    model = network(batch_normalization=True)
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 1)).astype(np.uint8)
    together = model(images, training=False)
    alone = np.concatenate([model(images[i : i + 1], training=False) for i in range(9)])
    assert np.allclose(together, alone, atol=1e-5)
    assert not np.allclose(together, model(images, training=True), atol=1e-3)
