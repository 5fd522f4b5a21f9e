"""A convolutional network for images."""

from typing import TYPE_CHECKING

from tasks.config import ModelConfig
from tasks.errors import ConfigError
from tasks.models.ends import Ends, give_out, hidden_layers, take_in

if TYPE_CHECKING:
    import keras

USES = ("filters", "convolutions", "batch_normalization", "hidden_units", "activation", "dropout")
# of the moving averages that are used outside of training; Keras's 0.99 needs hundreds of steps
MOMENTUM = 0.9


def build(ends: Ends, config: ModelConfig) -> "keras.Model":
    """Blocks of 3x3 convolutions and 2x2 max-pooling, then dense layers.

    Args:
        ends: What goes in and out; the rows have to be images.
        config: Uses `filters`, one block each, `convolutions` of a block, `batch_normalization`
            after each of them, and `hidden_units` and `dropout`.

    Raises:
        ConfigError: The rows are not images, or are too small for so many blocks.
    """
    import keras

    _check(ends, config)
    inputs, images = take_in(ends)
    for number, filters in enumerate(config.filters, start=1):
        for place in range(1, config.convolutions + 1):
            name = str(number) if config.convolutions == 1 else f"{number}_{place}"
            images = _convolution(images, filters, name, config)
        images = keras.layers.MaxPooling2D(name=f"pooling_{number}")(images)
    flat = keras.layers.Flatten(name="flat")(images)
    if config.dropout:
        flat = keras.layers.Dropout(config.dropout, name="dropout_0")(flat)
    return keras.Model(inputs, give_out(hidden_layers(flat, config), ends), name="cnn")


def _convolution(
    images: "keras.KerasTensor", filters: int, name: str, config: ModelConfig
) -> "keras.KerasTensor":
    """A convolution with ReLU; normalised in between, its bias is the normalisation's."""
    import keras

    layers = keras.layers
    if not config.batch_normalization:
        return layers.Conv2D(
            filters, 3, padding="same", activation="relu", name=f"convolution_{name}"
        )(images)
    images = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"convolution_{name}")(
        images
    )
    images = layers.BatchNormalization(momentum=MOMENTUM, name=f"normalization_{name}")(images)
    return layers.ReLU(name=f"activation_{name}")(images)


def _check(ends: Ends, config: ModelConfig) -> None:
    if ends.pixel_maximum is None:
        raise ConfigError(
            f"The architecture 'cnn' got rows of a table, of shape {ends.input_shape}; it needs "
            "images. Use --set model.architecture=mlp."
        )
    height, width, _ = ends.input_shape
    # every block halves the height and the width, rounding down
    most = min(height, width).bit_length() - 1
    if not 1 <= len(config.filters) <= most:
        raise ConfigError(
            f"The setting model.filters asks for {len(config.filters)} convolution blocks; "
            f"expected 1 to {most}, as each halves the images of {height} x {width} pixels. Use "
            f"for example --set model.filters={list(config.filters[:most]) or [32]}, or "
            "--set model.architecture=mlp."
        )
