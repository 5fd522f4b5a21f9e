"""A multilayer perceptron, for tables and for small images."""

from typing import TYPE_CHECKING

from tasks.config import ModelConfig
from tasks.models.ends import Ends, give_out, hidden_layers, take_in

if TYPE_CHECKING:
    import keras

USES = ("hidden_units", "dropout")


def build(ends: Ends, config: ModelConfig) -> "keras.Model":
    """Dense layers, one after the other; images are flattened first.

    Args:
        ends: What goes in and out.
        config: Uses `hidden_units` and `dropout`; without hidden units the model is linear.
    """
    import keras

    inputs, rows = take_in(ends)
    if len(ends.input_shape) > 1:
        rows = keras.layers.Flatten(name="flat")(rows)
    return keras.Model(inputs, give_out(hidden_layers(rows, config), ends), name="mlp")
