"""A convolutional network for texts, of Kim, 2014 (https://arxiv.org/abs/1408.5882)."""

from typing import TYPE_CHECKING

from tasks.config import ModelConfig
from tasks.errors import ConfigError
from tasks.models.ends import Ends, give_out, hidden_layers, require_kind, take_in

if TYPE_CHECKING:
    import keras

USES = ("embedding_size", "filters", "hidden_units", "activation", "dropout")
NARROWEST = 2


def build(ends: Ends, config: ModelConfig) -> "keras.Model":
    """An embedding, convolutions of several widths side by side, and the most of each filter.

    Args:
        ends: What goes in and out; the rows have to be texts with one answer each.
        config: Uses `embedding_size`, `hidden_units`, `dropout`, and `filters`: the first number
            is that of the filters that look at 2 tokens, the next of those at 3, and so on.

    Raises:
        ConfigError: The rows are no texts, are too short for so many widths, or there is an answer
            for each token.
    """
    import keras

    _check(ends, config)
    inputs, tokens = take_in(ends)
    embedded = keras.layers.Embedding(ends.vocabulary, config.embedding_size, name="embedding")(
        tokens
    )
    # what fills a text up is nothing to a filter
    is_token = keras.ops.cast(keras.ops.not_equal(tokens, ends.padding), embedded.dtype)
    embedded = embedded * keras.ops.expand_dims(is_token, -1)
    if config.dropout:
        embedded = keras.layers.SpatialDropout1D(config.dropout, name="embedding_dropout")(embedded)
    found = []
    for width, filters in enumerate(config.filters, start=NARROWEST):
        matches = keras.layers.Conv1D(
            filters, width, activation="relu", name=f"convolution_of_{width}"
        )(embedded)
        found.append(keras.layers.GlobalMaxPooling1D(name=f"most_of_{width}")(matches))
    flat = keras.layers.Concatenate(name="most")(found) if len(found) > 1 else found[0]
    if config.dropout:
        flat = keras.layers.Dropout(config.dropout, name="dropout_0")(flat)
    return keras.Model(inputs, give_out(hidden_layers(flat, config), ends), name="text_cnn")


def _check(ends: Ends, config: ModelConfig) -> None:
    require_kind(ends, "text_cnn", "text")
    if ends.is_sequence:
        raise ConfigError(
            f"The architecture 'text_cnn' got the problem {ends.problem!r}, which has an answer "
            "for each token; it gives one for each text. Use --set model.architecture=bert."
        )
    widest = NARROWEST + len(config.filters) - 1
    if not config.filters or widest > ends.input_shape[0]:
        raise ConfigError(
            f"The setting model.filters has {len(config.filters)} numbers, for filters that look "
            f"at {NARROWEST} to {widest} tokens; expected at least one, and none wider than the "
            f"{ends.input_shape[0]} tokens of a text. Use for example --set model.filters=[64,64], "
            "or raise preparation.text_length."
        )
