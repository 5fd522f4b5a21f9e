from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.config import ModelConfig
from tasks.errors import ConfigError
from tasks.models import MODELS
from tasks.models.ends import Ends
from tasks.models.initial import start_from

CONFIG = ModelConfig(architecture="cnn", filters=(4,), hidden_units=(6,))


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., tuple[Any, Path]]:
    """Builds and saves a small CNN: (classes, config) -> it and its file."""

    def make(classes: int = 3, config: ModelConfig = CONFIG) -> tuple[Any, Path]:
        network = built(classes, config)
        network.save(tmp_path / "network.keras")
        return network, tmp_path / "network.keras"

    return make


def built(classes: int = 3, config: ModelConfig = CONFIG) -> Any:
    ends = Ends((8, 8, 1), kind="image", pixel_maximum=255, classes=classes)
    return MODELS[config.architecture](ends, config)


def test_the_whole_predicts_as_what_it_starts_from(saved: Callable[..., Any]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype(np.uint8)
    source, path = saved()
    network = built()
    start_from(network, path, "whole", "models:/low/1")
    np.testing.assert_array_equal(network(pixels), source(pixels))


def test_the_backbone_is_all_but_the_last_layer(saved: Callable[..., Any]) -> None:
    source, path = saved(classes=3)
    network = built(classes=5)
    fresh = network.get_layer("probabilities").get_weights()[0]
    start_from(network, path, "backbone", "models:/low/1")
    for name in ("convolution_1", "hidden_1"):
        np.testing.assert_array_equal(
            network.get_layer(name).get_weights()[0], source.get_layer(name).get_weights()[0]
        )
    np.testing.assert_array_equal(network.get_layer("probabilities").get_weights()[0], fresh)


def test_other_classes_are_refused_with_the_layer_and_the_way_out(
    saved: Callable[..., Any],
) -> None:
    _, path = saved(classes=3)
    network = built(classes=5)
    before = network.get_weights()
    with pytest.raises(ConfigError, match="layer 'probabilities' has 6 x 3 and 3 there and 6 x 5"):
        start_from(network, path, "whole", "models:/low/1")
    with pytest.raises(ConfigError, match="initial_part=backbone"):
        start_from(network, path, "whole", "models:/low/1")
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_another_architecture_is_refused_with_its_layers(saved: Callable[..., Any]) -> None:
    _, path = saved()
    other = built(config=ModelConfig(architecture="cnn", filters=(4, 4), hidden_units=(6,)))
    with pytest.raises(ConfigError, match="'convolution_2' has no weights there") as raised:
        start_from(other, path, "backbone", "models:/low/1")
    assert "models:/low/1" in str(raised.value)
    assert "initial_part=backbone" not in str(raised.value)
