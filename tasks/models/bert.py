"""BERT, pretrained or not, for one answer for each text or for each token of it."""

from typing import TYPE_CHECKING

from tasks.config import ModelConfig
from tasks.errors import ConfigError
from tasks.models import pretrained
from tasks.models.ends import Ends, give_out, require_kind, take_in

if TYPE_CHECKING:
    import keras

USES = ("pretrained", "transformer_layers", "attention_heads", "embedding_size", "dropout")
# what a server needs besides the usual
LIBRARIES = ("keras-hub",)
# width of the feed-forward layers, as a multiple of the embedding's, as in
# https://arxiv.org/abs/1810.04805
INTERMEDIATE = 4


def build(ends: Ends, config: ModelConfig) -> "keras.Model":
    """The backbone of BERT, and on its outputs, or their mean over a text, the answer.

    Args:
        ends: What goes in and out; the rows have to be texts.
        config: Uses `dropout`, and `pretrained`; or, where that is none, `transformer_layers`,
            `attention_heads` and `embedding_size`.

    Raises:
        ConfigError: The rows are no texts, the vocabulary is not the one of the pretrained
            weights, the texts are longer than these can read, or the heads do not divide the
            embedding.
        ServiceError: The pretrained weights would have to be downloaded, and there is no network.
    """
    import keras

    require_kind(ends, "bert", "text")
    inputs, tokens = take_in(ends)
    is_token = keras.ops.not_equal(tokens, ends.padding)
    backbone = _sequences_only(_backbone(ends, config))
    read = backbone(
        {
            "token_ids": tokens,
            "segment_ids": keras.ops.zeros_like(tokens),
            "padding_mask": keras.ops.cast(is_token, "int32"),
        }
    )
    if not ends.is_sequence:
        read = keras.layers.GlobalAveragePooling1D(name="mean")(read, mask=is_token)
    if config.dropout:
        read = keras.layers.Dropout(config.dropout, name="dropout_0")(read)
    return keras.Model(inputs, give_out(read, ends), name="bert")


def _backbone(ends: Ends, config: ModelConfig) -> "keras.Model":
    import keras_hub

    (length,) = ends.input_shape
    if config.pretrained is not None:
        found = pretrained.load_backbone(
            keras_hub.models.BertBackbone,
            pretrained.place_of(config.pretrained),
            dropout=config.dropout,
        )
        _require_fit(found, ends, config)
        return found
    if config.embedding_size % config.attention_heads:
        raise ConfigError(
            f"The setting model.attention_heads is {config.attention_heads}, which does not divide "
            f"model.embedding_size, {config.embedding_size}; each head gets an equal part. Change "
            "one of them."
        )
    return keras_hub.models.BertBackbone(
        vocabulary_size=ends.vocabulary,
        num_layers=config.transformer_layers,
        num_heads=config.attention_heads,
        hidden_dim=config.embedding_size,
        intermediate_dim=INTERMEDIATE * config.embedding_size,
        dropout=config.dropout,
        max_sequence_length=length,
    )


def _require_fit(backbone: "keras.Model", ends: Ends, config: ModelConfig) -> None:
    (length,) = ends.input_shape
    if length > backbone.max_sequence_length:
        raise ConfigError(
            f"The setting preparation.text_length is {length}; {config.pretrained} reads at most "
            f"{backbone.max_sequence_length} tokens. Lower it."
        )
    if ends.vocabulary != backbone.vocabulary_size:
        raise ConfigError(
            f"The texts were prepared with a vocabulary of {ends.vocabulary:,} tokens; "
            f"{config.pretrained} was trained with {backbone.vocabulary_size:,}. Set "
            f"preparation.vocabulary to {config.pretrained} as well, and preparation.tokens to "
            "word_pieces."
        )


def _sequences_only(backbone: "keras.Model") -> "keras.Model":
    """The backbone without its pooling layer, which no gradient would reach."""
    import keras

    return keras.Model(backbone.input, backbone.output["sequence_output"], name="backbone")
