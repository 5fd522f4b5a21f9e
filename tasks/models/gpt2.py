"""GPT-2, a causal transformer that predicts each next token: from nothing, or pretrained."""

from typing import TYPE_CHECKING, Any

from tasks.config import ModelConfig
from tasks.errors import ConfigError
from tasks.models.ends import Ends, require_kind, take_in
from tasks.models.pretrained import load_backbone, place_of

if TYPE_CHECKING:
    import keras

USES = ("pretrained", "transformer_layers", "attention_heads", "embedding_size", "dropout")
LIBRARIES = ("keras-hub",)
# of the layer inside each block, as a multiple of the embedding (Radford et al., 2019)
WIDENING = 4


def build(ends: Ends, config: ModelConfig) -> "keras.Model":
    """A decoder of KerasHub, whose token embedding, turned round, is its last layer as well.

    Padding needs no mask, as it follows the text and a token looks at those before it only.

    Args:
        ends: What goes in and out.
        config: Uses `pretrained`, or else `transformer_layers`, `attention_heads` and
            `embedding_size`, and `dropout`.

    Raises:
        ConfigError: The problem is another, the sizes do not go together, or the pretrained
            decoder has another vocabulary or reads fewer tokens.
    """
    import keras

    require_kind(ends, "gpt2", "text")
    if ends.problem != "text_generation":
        raise ConfigError(
            f"The architecture 'gpt2' predicts the next token; it got {ends.problem}. Set "
            "model.architecture to another one, such as bert or lstm."
        )
    tokens, _ = take_in(ends)
    decoder = _pretrained(ends, config) if config.pretrained else _fresh(ends, config)
    # one graph with the embedding in it twice: so a stored network keeps it one layer
    logits = decoder.token_embedding(decoder.output, reverse=True)
    backbone = keras.Model(decoder.input, logits, name="backbone")
    everywhere = keras.ops.ones_like(tokens)
    logits = backbone({"token_ids": tokens, "padding_mask": everywhere})
    softmax = keras.layers.Softmax(dtype="float32", name="probabilities")
    return keras.Model(tokens, softmax(logits), name="gpt2")


def _fresh(ends: Ends, config: ModelConfig) -> Any:
    from keras_hub.models import GPT2Backbone

    if config.embedding_size % config.attention_heads:
        raise ConfigError(
            f"model.embedding_size is {config.embedding_size}, which {config.attention_heads} "
            "attention heads cannot share evenly; expected a multiple. Set "
            f"model.embedding_size={config.attention_heads * 32}."
        )
    return GPT2Backbone(
        vocabulary_size=ends.vocabulary,
        num_layers=config.transformer_layers,
        num_heads=config.attention_heads,
        hidden_dim=config.embedding_size,
        intermediate_dim=WIDENING * config.embedding_size,
        dropout=config.dropout,
        max_sequence_length=ends.input_shape[0],
    )


def _pretrained(ends: Ends, config: ModelConfig) -> Any:
    from keras_hub.models import GPT2Backbone

    place = place_of(config.pretrained or "")
    decoder = load_backbone(GPT2Backbone, place, dropout=config.dropout)
    if decoder.vocabulary_size != ends.vocabulary:
        raise ConfigError(
            f"The pretrained {config.pretrained} knows {decoder.vocabulary_size:,} tokens and the "
            f"texts were cut into {ends.vocabulary:,}; expected the same vocabulary. Set "
            f"preparation.vocabulary={config.pretrained}."
        )
    if decoder.max_sequence_length < ends.input_shape[0]:
        raise ConfigError(
            f"preparation.text_length is {ends.input_shape[0]:,} tokens and the pretrained "
            f"{config.pretrained} reads {decoder.max_sequence_length:,}. Set it to that at most."
        )
    return decoder
