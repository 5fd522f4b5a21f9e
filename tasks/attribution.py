"""Gradients of a network's outputs: which pixels, tokens and regions decide them.

The gradient is the one thing for which Keras has no name of its own: it is asked of TensorFlow or
of JAX, whichever Keras runs on.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.layers import (
    activations,
    as_numbers,
    entry_layer,
    last_convolution,
    layer_outputs,
    replaced,
    without_softmax,
)

if TYPE_CHECKING:
    import keras

# of all layers' outputs together that are held for the way back, float32: 128 MiB
NUMBERS_AT_ONCE = 2**25
ROWS_AT_MOST = 256
# how often the steps of a row are doubled, and by which share of it the sum may be off before
DOUBLINGS, TOLERANCE = 2, 0.03


@dataclass(frozen=True)
class Attribution:
    """What each number of some rows adds to an output.

    Args:
        values: float32 [rows, ...], of the shape of what the entry layer gives; of each row the sum
            is `end - start`, but for the error of the quadrature.
        start: The output where the path begins, float32 [rows].
        end: The output for the row itself, float32 [rows].
    """

    values: NDArray[np.float32]
    start: NDArray[np.float32]
    end: NDArray[np.float32]


def integrated_gradients(
    network: "keras.Model",
    inputs: NDArray[Any],
    wanted: NDArray[np.int64],
    steps: int,
    kept: NDArray[np.bool_] | None = None,
) -> Attribution:
    """Integrated gradients of one output for each row, from zeros to the row itself.

    Sundararajan, Taly and Yan, 2017, equation 1 (https://arxiv.org/abs/1703.01365), along the
    straight path from all zeros: a black image, or, as they propose for texts, embeddings of zero.
    The integral is a Gauss-Legendre quadrature, which needs fewer steps than a sum. A row whose
    sum is off is integrated again with twice the steps, at most two times.

    Args:
        network: From `tasks.models.archive.open_network`; its rows are images or texts.
        inputs: [rows, ...].
        wanted: Which number of a row's outputs, counted over all of them, int64 [rows].
        steps: Points of the quadrature.
        kept: Places that are the same all along the path, and so get nothing, bool [rows, length].
    """
    layer = entry_layer(network, inputs)
    ends = layer_outputs(network, inputs, [layer])[0]
    starts = np.zeros_like(ends) if kept is None else np.where(kept[..., None], ends, 0)
    size = _rows_at_once(network, inputs)

    def output(values: Any, rows: NDArray[np.int64]) -> Any:
        with replaced(layer, lambda given: values):
            return _picked(network(inputs[rows], training=False), wanted[rows])

    def summed(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        found = [as_numbers(output(_tensor(end[rows]), rows)) for end in (starts, ends)]
        return np.stack(found)

    everyone = np.arange(len(inputs))
    start, end = np.concatenate([summed(rows) for rows in _batches(everyone, size)], axis=1)
    values, off = np.zeros(ends.shape, np.float32), everyone
    for _ in range(1 + DOUBLINGS):
        values[off] = _integral(output, starts, ends, off, steps, size)
        missed = np.abs(values.sum(axis=tuple(range(1, values.ndim))) - (end - start))
        off = np.flatnonzero(missed > TOLERANCE * np.maximum(np.abs(end - start), TOLERANCE))
        steps *= 2
        if not len(off):
            break
    return Attribution(values, start, end)


def _integral(
    output: Callable[..., Any],
    starts: NDArray[np.float32],
    ends: NDArray[np.float32],
    rows: NDArray[np.int64],
    steps: int,
    size: int,
) -> NDArray[np.float64]:
    """The attributions of some rows, by one quadrature; `size` points are asked for at once."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    shape = (-1, *[1] * (ends.ndim - 1))
    along, weights = ((nodes + 1) / 2).reshape(shape), (weights / 2).reshape(shape)
    total = np.zeros((len(rows), *ends.shape[1:]), np.float64)
    for points in _batches(np.arange(len(rows) * steps), size):
        place, step = np.divmod(points, steps)
        row = rows[place]
        there = starts[row] + along[step] * (ends[row] - starts[row])
        slopes = _gradient(functools.partial(output, rows=row), there.astype(np.float32))
        np.add.at(total, place, slopes * weights[step])
    found: NDArray[np.float64] = total * (ends[rows] - starts[rows])
    return found


def grad_cam(
    network: "keras.Model", inputs: NDArray[np.uint8], wanted: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """Where the last convolution finds what speaks for an output; None where there is none.

    Selvaraju et al., 2017, equations 1 and 2 (https://arxiv.org/abs/1610.02391): the maps of the
    last convolution, each weighed by the mean of the score's gradient over it; what speaks against
    is cut off. The score is the one before the softmax.

    Args:
        network: From `tasks.models.archive.open_network`; its rows are images.
        inputs: uint8 [rows, height, width, channels].
        wanted: The class of each row, int64 [rows].

    Returns:
        float32 [rows, height, width], bilinear between the places of the map, 0 and more.
    """
    import keras

    layer = last_convolution(network, inputs)
    if layer is None:
        return None
    maps = layer_outputs(network, inputs, [layer])[0]
    found = np.zeros(maps.shape[:-1], np.float32)
    for rows in _batches(np.arange(len(inputs)), _rows_at_once(network, inputs)):

        def score(change: Any, rows: NDArray[np.int64] = rows) -> Any:
            call = layer.call
            with (
                replaced(layer, lambda *given, **named: call(*given, **named) + change),
                without_softmax(network),
            ):
                return _picked(network(inputs[rows], training=False), wanted[rows])

        # by a change of zero it is the gradient at the map itself
        slopes = _gradient(score, np.zeros_like(maps[rows]))
        weights = slopes.mean(axis=(1, 2), keepdims=True)
        found[rows] = np.maximum((maps[rows] * weights).sum(axis=-1), 0)
    enlarged = keras.ops.image.resize(
        found[..., None], inputs.shape[1:3], data_format="channels_last"
    )
    return np.maximum(as_numbers(enlarged)[..., 0], 0)


def _gradient(function: Callable[[Any], Any], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The gradient of the sum of a function's outputs, of the shape of the values."""
    import keras

    if keras.config.backend() == "jax":
        import jax

        slopes = jax.grad(lambda given: function(given).sum())(_tensor(values))
        return as_numbers(slopes)
    import tensorflow as tf

    given = _tensor(values)
    with tf.GradientTape() as tape:
        tape.watch(given)
        outputs = function(given)
    slopes = tape.gradient(outputs, given, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return as_numbers(slopes)


def _picked(outputs: Any, wanted: NDArray[np.int64]) -> Any:
    """One number of each row's outputs, float32 [rows]."""
    import keras

    flat = keras.ops.cast(keras.ops.reshape(outputs, (len(wanted), -1)), "float32")
    return keras.ops.take_along_axis(flat, wanted[:, None], axis=1)[:, 0]


def _rows_at_once(network: Any, inputs: NDArray[Any]) -> int:
    """How many rows' outputs of all layers fit into what may be held."""
    numbers = sum(found.size for found in activations(network, inputs[:1]).values())
    return int(np.clip(NUMBERS_AT_ONCE // max(numbers, 1), 1, ROWS_AT_MOST))


def _batches(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _tensor(values: NDArray[Any]) -> Any:
    import keras

    return keras.ops.convert_to_tensor(values, dtype="float32")
