"""Random shifts, rotations and changes of size of images, while a network is trained."""

import math
from typing import Any

import keras

from tasks.fitting.settings import FitSettings


class RandomAffine(keras.layers.Layer):  # type: ignore[misc]  # keras ships no types
    """Moves, turns and zooms each image of a batch at random; outside of training, none.

    One affine transform for all three, as each resampling costs time and sharpness: on a CPU three
    of Keras's layers, one for each, take five times as long (JAX: fifteen times). What comes into
    view beyond the edge continues the edge.

    Args:
        shift: Largest shift along each axis, as a share of the side.
        rotation: Largest rotation, in degrees.
        zoom: Largest change of size, as a share.
        seed: Seed of the random numbers.
    """

    def __init__(self, shift: float, rotation: float, zoom: float, seed: int) -> None:
        super().__init__(name="augmentation", dtype="float32")
        self._shift, self._zoom = shift, zoom
        self._angle = math.radians(rotation)
        self._random = keras.random.SeedGenerator(seed)
        # XLA has none of TensorFlow's kernels for images
        self.supports_jit = keras.config.backend() != "tensorflow"

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Images as they came in, of the same dtype, [rows, height, width, channels]."""
        if not training:
            return images
        ops = keras.ops
        moved = ops.image.affine_transform(
            ops.cast(images, "float32"),
            self._transforms(ops.shape(images)[0], *images.shape[1:3]),
            fill_mode="nearest",
            data_format="channels_last",
        )
        if images.dtype in ("uint8", "int32"):
            moved = ops.round(moved)
        return ops.cast(moved, images.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The same as the input's."""
        return input_shape

    def _transforms(self, rows: Any, height: int, width: int) -> Any:
        """Where each pixel (x, y) comes from, [rows, 8]: (a x + b y + c, d x + e y + f).

        The centre stays in place, but for the shift.
        """
        ops = keras.ops
        chances = keras.random.uniform((4, rows), -1.0, 1.0, dtype="float32", seed=self._random)
        angles, sizes = chances[0] * self._angle, 1.0 + chances[1] * self._zoom
        a, d = ops.cos(angles) / sizes, ops.sin(angles) / sizes
        x, y = (width - 1) / 2, (height - 1) / 2
        c = x - a * x + d * y + chances[2] * self._shift * width
        f = y - d * x - a * y + chances[3] * self._shift * height
        nothing = ops.zeros_like(a)
        return ops.stack([a, -d, c, d, a, f, nothing, nothing], axis=1)


def augmented(network: keras.Model, settings: FitSettings) -> keras.Model:
    """The model that is trained: the network itself, or behind the augmentation of its inputs."""
    changes = settings.shift, settings.rotation, settings.zoom
    if not any(changes):
        return network
    (given,) = network.inputs
    inputs = keras.Input(given.shape[1:], dtype=given.dtype)
    return keras.Sequential([inputs, RandomAffine(*changes, seed=settings.seed), network])
