"""A multilayer perceptron, for tables and for small images."""

import math
from typing import TYPE_CHECKING

from tasks.config import ModelConfig
from tasks.models.ends import Ends, give_out, hidden_layers, take_in

if TYPE_CHECKING:
    import keras

USES = ("hidden_units", "activation", "dropout", "embedding_size")


def build(ends: Ends, config: ModelConfig) -> "keras.Model":
    """Dense layers, one after the other; images are flattened, coded categories looked up first.

    Args:
        ends: What goes in and out.
        config: Uses `hidden_units` and `dropout`; without hidden units the model is linear. Of
            coded categories, `embedding_size` is the most numbers that one is looked up as.
    """
    import keras

    inputs, rows = take_in(ends)
    if len(ends.input_shape) > 1:
        rows = keras.layers.Flatten(name="flat")(rows)
    if ends.codes:
        rows = _looked_up(rows, ends.codes, config.embedding_size)
    return keras.Model(inputs, give_out(hidden_layers(rows, config), ends), name="mlp")


def embedding_size(codes: int, most: int) -> int:
    """Numbers that a category of so many codes is looked up as: 1.6 codes^0.56, and at most `most`.

    The rule of thumb of fastai's tabular models (https://docs.fast.ai/tabular.model.html).
    """
    return min(most, max(1, round(1.6 * math.pow(codes, 0.56))))


def _looked_up(rows: "keras.KerasTensor", codes: tuple[int, ...], most: int) -> "keras.KerasTensor":
    """The numbers of each row, and beside them an embedding of each of its last columns."""
    import keras

    first = rows.shape[1] - len(codes)
    parts = [rows[:, :first]] if first else []
    for number, count in enumerate(codes):
        embedding = keras.layers.Embedding(
            count, embedding_size(count, most), name=f"embedding_{number + 1}"
        )
        parts.append(embedding(rows[:, first + number]))
    return keras.layers.Concatenate(name="looked_up")(parts) if len(parts) > 1 else parts[0]
