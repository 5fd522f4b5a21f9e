"""Texts that go on: what KerasHub's loop gives is what the network itself says, token by token."""

import keras
import numpy as np
import pytest

from tasks.config import ModelConfig
from tasks.generation import Generator
from tasks.models.archive import open_network, save_network
from tasks.models.ends import Ends
from tasks.models.gpt2 import build

FITTED = {"length": 12, "start": 0, "end": 0, "padding": 0}
ENDS = Ends((12,), problem="text_generation", kind="text", classes=20, vocabulary=20)
BEGINNINGS = [[3, 4, 5], [], list(range(1, 19)), [7]]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network that has learnt that numbers go up by one, as it is after it was stored."""
    config = ModelConfig(
        architecture="gpt2", transformer_layers=1, attention_heads=2, embedding_size=16, dropout=0
    )
    keras.utils.set_random_seed(0)
    made = build(ENDS, config)
    random = np.random.default_rng(0)
    starts = random.integers(1, 9, 256)
    texts = np.zeros((256, 12), np.int32)
    texts[:, 1:11] = starts[:, None] + np.arange(10)
    made.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    made.fit(texts, np.roll(texts, -1, axis=1), epochs=12, verbose=0)
    path = tmp_path_factory.mktemp("gpt2") / "network.keras"
    save_network(made, path)
    return open_network(path)


@pytest.fixture(scope="module")
def generator(network):
    return Generator(network, FITTED)


def test_the_most_probable_tokens_are_those_of_the_network(network, generator):
    for beginning, found in zip(
        BEGINNINGS, generator.continuations(BEGINNINGS, 4, temperature=0), strict=True
    ):
        prompt, own = [0, *beginning[max(0, len(beginning) - 7) :]], []
        for _ in range(4):
            tokens = np.zeros((1, 12), np.int32)
            tokens[0, : len(prompt)] = prompt
            token = int(np.asarray(network(tokens))[0, len(prompt) - 1].argmax())
            if token == 0:
                break
            own.append(token)
            prompt.append(token)
        assert found == own
    assert generator.continuations([[3, 4, 5]], 4, temperature=0) == [[6, 7, 8, 9]]


def test_the_same_seed_draws_the_same_tokens(generator):
    first, again, other = (
        generator.continuations([[]] * 8, 6, temperature=1.0, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert all(len(row) <= 6 and 0 not in row for row in first)


def test_no_tokens_are_asked_for_none(generator):
    assert generator.continuations([[1], [2]], max_new_tokens=0) == [[], []]
    assert generator.continuations([]) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"max_new_tokens": 12}, "max_new_tokens is 12; expected 0 to 11"),
        ({"max_new_tokens": -1}, "max_new_tokens is -1"),
        ({"max_new_tokens": 3, "temperature": -0.5}, "temperature is -0.5; expected 0"),
        ({"max_new_tokens": 3, "temperature": float("nan")}, "temperature is nan"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(generator, asked, message):
    with pytest.raises(ValueError, match=message):
        generator.continuations([[1]], **asked)
