"""VGG16, the network of Simonyan and Zisserman (arXiv:1409.1556), with a head of our own."""

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.config import ModelConfig
from tasks.errors import ConfigError
from tasks.models import pretrained
from tasks.models.ends import Ends, give_out, hidden_layers, require_kind, take_in

if TYPE_CHECKING:
    import keras

USES = ("pretrained", "hidden_units", "activation", "dropout")
CHANNELS = 3
# five times the images are halved
SMALLEST = 32
# means of ImageNet's pixels, red, green and blue, which were subtracted when its weights were
# learnt (arXiv:1409.1556, section 2.1)
MEANS = (123.68, 116.779, 103.939)


def build(ends: Ends, config: ModelConfig) -> "keras.Model":
    """The convolutions of VGG16 as the layer `backbone`, their mean over the image, dense layers.

    The scaling that its weights were learnt with is part of the network: pixels from 0 to 255,
    blue first, less the mean of each colour.

    Args:
        ends: What goes in and out; the rows have to be images of 32 x 32 pixels or more.
        config: Uses `pretrained` (`imagenet`, a file of weights without the top, or none),
            `hidden_units` and `dropout`.

    Raises:
        ConfigError: The rows are no such images, or the weights cannot be used.
        ServiceError: The weights would have to be downloaded, and there is no network.
    """
    import keras

    require_kind(ends, "vgg16", "image")
    height, width, channels = ends.input_shape
    if min(height, width) < SMALLEST or channels not in {1, CHANNELS}:
        raise ConfigError(
            f"The architecture 'vgg16' got images of {height} x {width} pixels with {channels} "
            f"channels; it needs at least {SMALLEST} x {SMALLEST} with 1 or {CHANNELS}. Raise "
            "ingestion.image_size, or use another model.architecture."
        )
    inputs, images = take_in(ends)
    if channels == 1:
        images = keras.layers.Concatenate(name="colours")([images] * CHANNELS)
    images = keras.layers.Rescaling(255.0, [-mean for mean in MEANS], name="centred")(images)
    images = keras.ops.flip(images, axis=-1)
    features = _backbone((height, width, CHANNELS), config.pretrained)(images)
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(features)
    return keras.Model(inputs, give_out(hidden_layers(pooled, config), ends), name="vgg16")


def _backbone(shape: tuple[int, int, int], source: str | None) -> "keras.Model":
    import keras

    settings = {"include_top": False, "input_shape": shape, "name": "backbone"}
    if source is None:
        return keras.applications.VGG16(weights=None, **settings)
    place = pretrained.place_of(source)
    if place == pretrained.IMAGENET:
        return pretrained.load_application(keras.applications.VGG16, **settings)
    if not isinstance(place, Path):
        raise ConfigError(
            f"model.pretrained is {source!r}; 'vgg16' takes 'imagenet', or a file of its weights "
            f"without the top ({' or '.join(pretrained.WEIGHT_FILES)}). Correct it, or leave it "
            "out for fresh weights."
        )
    backbone = keras.applications.VGG16(weights=None, **settings)
    pretrained.load_weights(backbone, place)
    return backbone
