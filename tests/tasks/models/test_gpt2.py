import numpy as np
import pytest

from tasks.config import ModelConfig
from tasks.errors import ConfigError
from tasks.models.archive import load_network, save_network
from tasks.models.ends import Ends
from tasks.models.gpt2 import build

ENDS = Ends((8,), problem="text_generation", kind="text", classes=30, vocabulary=30)
SMALL = {"architecture": "gpt2", "transformer_layers": 1, "attention_heads": 2}


def test_a_stored_network_is_one_whose_last_layer_is_its_first(tmp_path):
    network = build(ENDS, ModelConfig(**SMALL, embedding_size=8))
    save_network(network, tmp_path / "network.keras")
    tokens = np.random.default_rng(0).integers(0, 30, (3, 8)).astype(np.int32)
    found = load_network(tmp_path / "network.keras")(tokens)
    assert found == pytest.approx(np.asarray(network(tokens)), abs=1e-6)
    assert found.sum(axis=-1) == pytest.approx(1, abs=1e-5)
    # 30 tokens of 8 numbers, once; 8 places of 8; and one layer
    assert network.count_params() == 30 * 8 + 8 * 8 + 872 + 16


def test_a_token_depends_on_those_before_it_only():
    network = build(ENDS, ModelConfig(**SMALL, embedding_size=8))
    one = np.ones((1, 8), np.int32)
    other = one.copy()
    other[0, 5:] = 7
    found, changed = np.asarray(network(one)), np.asarray(network(other))
    assert changed[0, :5] == pytest.approx(found[0, :5], abs=1e-6)
    assert np.abs(changed[0, 5] - found[0, 5]).max() > 1e-6


@pytest.mark.parametrize("ends", [
    Ends((8,), problem="classification", kind="text", classes=2, vocabulary=30),
    Ends((8,), problem="regression"),
])  # fmt: skip
def test_another_problem_is_refused(ends):
    with pytest.raises(ConfigError, match="gpt2"):
        build(ends, ModelConfig(**SMALL))


def test_heads_have_to_share_the_embedding():
    with pytest.raises(ConfigError, match="which 2 attention heads cannot share evenly"):
        build(ENDS, ModelConfig(**SMALL, embedding_size=9))


@pytest.fixture
def folder(tmp_path):
    """A decoder that was saved as a KerasHub preset."""
    from keras_hub.models import GPT2Backbone

    decoder = GPT2Backbone(30, 1, 2, 8, 16, max_sequence_length=16)
    decoder.save_to_preset(str(tmp_path / "decoder"))
    return tmp_path / "decoder", decoder


def test_pretrained_weights_are_those_of_the_folder(folder):
    path, decoder = folder
    network = build(ENDS, ModelConfig(architecture="gpt2", pretrained=str(path), dropout=0.3))
    embedding = network.get_layer("backbone").get_layer("token_embedding")
    assert np.array_equal(embedding.get_weights()[0], decoder.token_embedding.get_weights()[0])


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (Ends((8,), problem="text_generation", kind="text", vocabulary=31), "knows 30 tokens"),
        (Ends((17,), problem="text_generation", kind="text", vocabulary=30), "reads 16"),
    ],
    ids=["another vocabulary", "longer texts"],
)
def test_a_pretrained_decoder_that_does_not_fit_is_refused(folder, ends, message):
    with pytest.raises(ConfigError, match=message):
        build(ends, ModelConfig(architecture="gpt2", pretrained=str(folder[0])))
