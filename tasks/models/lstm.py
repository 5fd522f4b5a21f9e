"""A recurrent network for texts: it reads the tokens one after the other."""

from typing import TYPE_CHECKING

from tasks.config import ModelConfig
from tasks.models.ends import Ends, give_out, hidden_layers, require_kind, take_in

if TYPE_CHECKING:
    import keras

USES = (
    "embedding_size",
    "recurrent_units",
    "bidirectional",
    "hidden_units",
    "activation",
    "dropout",
)


def build(ends: Ends, config: ModelConfig) -> "keras.Model":
    """An embedding and an LSTM that skips the padding, then dense layers.

    Args:
        ends: What goes in and out; the rows have to be texts.
        config: Uses `embedding_size`, `recurrent_units`, `bidirectional`, `hidden_units` and
            `dropout`.

    Raises:
        ConfigError: The rows are no texts.
    """
    import keras

    require_kind(ends, "lstm", "text")
    inputs, tokens = take_in(ends)
    # an operation and not `mask_zero`: the padding of some vocabularies is another number
    is_token = keras.ops.not_equal(tokens, ends.padding)
    embedded = keras.layers.Embedding(ends.vocabulary, config.embedding_size, name="embedding")(
        tokens
    )
    if config.dropout:
        embedded = keras.layers.SpatialDropout1D(config.dropout, name="embedding_dropout")(embedded)
    reader: keras.Layer = keras.layers.LSTM(
        config.recurrent_units, return_sequences=ends.is_sequence, name="lstm"
    )
    if config.bidirectional:
        reader = keras.layers.Bidirectional(reader, name="both_ways")
    read = reader(embedded, mask=is_token)
    if config.dropout:
        read = keras.layers.Dropout(config.dropout, name="dropout_0")(read)
    return keras.Model(inputs, give_out(hidden_layers(read, config), ends), name="lstm")
