"""Texts that go on: the beginnings in, what a language model continues them with out.

A copy of this very file ships inside each registered model that continues texts, so it needs NumPy
and KerasHub and nothing of ours. The loop, its cache and its samplers are KerasHub's own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

MAX_NEW_TOKENS, TEMPERATURE, SEED = 32, 1.0, 0
BACKBONE = "backbone"


class Generator:
    """A trained network that is asked for one token after the other.

    Args:
        network: From `tasks.models.gpt2`.
        fitted: What was fitted on the training rows; gives `length`, `start` and `end`.
    """

    def __init__(self, network: keras.Model, fitted: Mapping[str, Any]) -> None:
        self._model = language_model(network)
        self._length: int = fitted["length"]
        self._end: int = fitted["end"]
        self._start: int = self._end if fitted["start"] is None else fitted["start"]
        self._temperature: float | None = None
        self._lock = threading.Lock()

    def continuations(
        self,
        beginnings: Sequence[Sequence[int]],
        max_new_tokens: int | None = None,
        temperature: float = TEMPERATURE,
        seed: int = SEED,
        block: int = 0,
    ) -> list[list[int]]:
        """What follows each beginning, up to the end of the text.

        The same beginnings with the same seed are continued alike; the draws of one row depend on
        how many rows are asked for at once.

        Args:
            beginnings: Tokens of each text, without start and end; of a text too long for what is
                to follow, the last ones count. An empty one is a text from its start.
            max_new_tokens: Most tokens for each; 0 for none. Default: 32, or what the model reads.
            temperature: What the logits are divided by before a token is drawn; 0 always takes the
                most probable one.
            seed: Seed of the draws.
            block: Of rows that are asked for in several blocks, which this is: the draws of another
                block are others.

        Returns:
            Tokens of each continuation, without the end.

        Raises:
            ValueError: A number is out of its range.
        """
        if max_new_tokens is None:
            max_new_tokens = most_new_tokens(self._length)
        self._require(max_new_tokens, temperature)
        if max_new_tokens == 0 or not beginnings:
            return [[] for _ in beginnings]
        room = self._length - 1 - max_new_tokens
        prompts = [[self._start, *row[max(0, len(row) - room) :]] for row in beginnings]
        tokens, given = self._padded(prompts, max_new_tokens)
        asked = {"token_ids": tokens, "padding_mask": given}
        # the sampler is shared, and a server asks from several threads
        with self._lock:
            self._set_sampler(temperature, seed + block)
            found = self._model.generate(asked, stop_token_ids=[self._end])["token_ids"]
        return [
            self._until_end(row[len(prompt) :][:max_new_tokens].tolist())
            for row, prompt in zip(np.asarray(found), prompts, strict=False)
        ]

    def _require(self, max_new_tokens: int, temperature: float) -> None:
        most = self._length - 1
        if not 0 <= max_new_tokens <= most:
            raise ValueError(
                f"max_new_tokens is {max_new_tokens}; expected 0 to {most}, since the model reads "
                f"{self._length} tokens with the start of the text. Ask for fewer."
            )
        if not 0 <= temperature < np.inf:
            raise ValueError(
                f"temperature is {temperature:g}; expected 0, for the most probable token, or "
                "more. 1 draws as the model predicts."
            )

    def _padded(
        self, prompts: Sequence[Sequence[int]], max_new_tokens: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and which are given, int32 [rows, width].

        Rows and width are powers of two, so that few shapes are compiled in the life of a server.
        """
        longest = max(map(len, prompts)) + max_new_tokens
        shape = (_power_of_two(len(prompts)), min(self._length, _power_of_two(longest)))
        # any token but the end, at which the loop would stop before it has begun
        tokens = np.full(shape, 1 if self._end == 0 else 0, np.int32)
        given = np.zeros(shape, np.int32)
        given[:, 0] = 1
        for row, prompt in enumerate(prompts):
            tokens[row, : len(prompt)] = prompt
            given[row, : len(prompt)] = 1
        return tokens, given

    def _set_sampler(self, temperature: float, seed: int) -> None:
        """Another temperature is another sampler, which has to be compiled; a seed is not."""
        import keras
        from keras_hub import samplers

        if temperature != self._temperature:
            sampler = samplers.RandomSampler(temperature=temperature) if temperature else "greedy"
            # XLA would compile each shape for longer than it generates
            self._model.compile(sampler=sampler, jit_compile=False)
            self._temperature = temperature
        if temperature:
            state = keras.random.SeedGenerator(seed).state
            self._model.sampler.seed_generator.state.assign(state)

    def _until_end(self, tokens: list[int]) -> list[int]:
        return tokens[: tokens.index(self._end)] if self._end in tokens else tokens


def most_new_tokens(length: int) -> int:
    """How many tokens are asked for by default, of a model that reads so many."""
    return min(MAX_NEW_TOKENS, length - 1)


def language_model(network: keras.Model) -> Any:
    """KerasHub's GPT-2 for generating, with the weights of a network of ours.

    A network that loads without our code holds its layers one by one; KerasHub's generating class
    wants its own backbone around them.

    Args:
        network: From `tasks.models.gpt2`, with its layer `backbone`.
    """
    from keras_hub.models import GPT2Backbone, GPT2CausalLM

    trained = network.get_layer(BACKBONE)
    embedding = trained.get_layer("token_embedding")
    first = trained.get_layer("transformer_layer_0")
    own = [layer for layer in trained.layers if layer.name.startswith("transformer_layer_")]
    backbone = GPT2Backbone(
        vocabulary_size=embedding.input_dim,
        num_layers=len(own),
        num_heads=first.num_heads,
        hidden_dim=embedding.output_dim,
        intermediate_dim=first.intermediate_dim,
        max_sequence_length=trained.get_layer("position_embedding").sequence_length,
        dropout=0.0,
    )
    for layer in backbone.layers:
        if layer.weights:
            layer.set_weights(trained.get_layer(layer.name).get_weights())
    return GPT2CausalLM(backbone, preprocessor=None)


def _power_of_two(number: int) -> int:
    return 1 << max(number - 1, 0).bit_length()
