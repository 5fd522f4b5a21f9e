from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.config import ModelConfig
from tasks.errors import ConfigError, ServiceError
from tasks.models.archive import load_network, save_network
from tasks.models.ends import Ends
from tasks.models.vgg16 import build

CONFIG = ModelConfig(architecture="vgg16", hidden_units=(8,))


def ends(height: int = 32, width: int = 32, channels: int = 3) -> Ends:
    return Ends((height, width, channels), kind="image", pixel_maximum=255, classes=3)


@pytest.fixture(scope="module")
def network() -> Any:
    return build(ends(), CONFIG)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)


def test_the_backbone_is_given_what_its_weights_were_learnt_with(
    network: Any, pixels: np.ndarray
) -> None:
    import keras

    backbone = network.get_layer("backbone")
    inner = keras.Model(network.input, network.get_layer("pooled").input)
    wanted = backbone(keras.applications.vgg16.preprocess_input(pixels.astype(np.float32)))
    np.testing.assert_allclose(inner(pixels), wanted, rtol=1e-3, atol=1e-4)


def test_it_loads_without_our_code(network: Any, pixels: np.ndarray, tmp_path: Path) -> None:
    save_network(network, tmp_path / "network.keras")
    loaded = load_network(tmp_path / "network.keras")
    np.testing.assert_allclose(loaded(pixels), network(pixels), atol=1e-6)


def test_its_last_block_can_be_named(network: Any) -> None:
    names = [layer.name for layer in network.get_layer("backbone").layers]
    assert [name for name in names if name.startswith("block5")] == [
        "block5_conv1", "block5_conv2", "block5_conv3", "block5_pool",
    ]  # fmt: skip
    assert network.get_layer("backbone").count_params() == 14_714_688


def test_grey_images_are_taken_as_well() -> None:
    network = build(ends(channels=1), CONFIG)
    assert network(np.zeros((2, 32, 32, 1), np.uint8)).shape == (2, 3)


def test_weights_come_from_a_file(network: Any, tmp_path: Path) -> None:
    network.get_layer("backbone").save_weights(tmp_path / "vgg16.weights.h5")
    config = CONFIG.model_copy(update={"pretrained": str(tmp_path / "vgg16.weights.h5")})
    loaded = build(ends(), config).get_layer("backbone")
    np.testing.assert_array_equal(
        loaded.get_weights()[0], network.get_layer("backbone").get_weights()[0]
    )


@pytest.mark.parametrize("source", ["bert_tiny_en_uncased", "vgg"])
def test_other_weights_are_refused(source: str) -> None:
    with pytest.raises(ConfigError, match="takes 'imagenet', or a file"):
        build(ends(), CONFIG.model_copy(update={"pretrained": source}))


def test_imagenet_without_a_network_says_which_ways_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import keras

    def away(*_: Any, **settings: Any) -> Any:
        if settings["weights"] == "imagenet":
            raise ConnectionError("Name or service not known")
        return None

    monkeypatch.setattr(keras.applications, "VGG16", away)
    away.__name__ = "VGG16"
    with pytest.raises(ServiceError, match=r"no network, .* file of weights"):
        build(ends(), CONFIG.model_copy(update={"pretrained": "imagenet"}))


@pytest.mark.parametrize("shape", [(31, 64, 3), (64, 64, 4)])
def test_images_that_it_cannot_take_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="at least 32 x 32 with 1 or 3"):
        build(ends(*shape), CONFIG)
