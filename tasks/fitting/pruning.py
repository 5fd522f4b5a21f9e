"""Magnitude pruning: the smallest weights become zero, and stay zero as the others are trained on.

After Han et al., "Learning both Weights and Connections for Efficient Neural Networks"
(https://arxiv.org/abs/1506.02626): prune by magnitude, then train what is left. All weights compete
in one ranking, so that a layer that can spare more gives more.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tasks.fitting.phases import NOT_DECAYED


class _ZerosKept(keras.constraints.Constraint):  # type: ignore[misc]  # keras ships no types
    """Keras applies it after each step, also where many steps run without coming back to Python."""

    def __init__(self, kept: np.ndarray, before: Any) -> None:
        self._kept = kept
        self._before = before

    def __call__(self, weights: Any) -> Any:
        values = self._before(weights) if self._before else keras.ops.convert_to_tensor(weights)
        return values * keras.ops.cast(self._kept, values.dtype)


def prunable_weights(network: keras.Model) -> list[keras.Variable]:
    """The weights that pruning ranks: kernels and embeddings, not biases and scales."""
    return [
        variable
        for variable in network.trainable_variables
        if len(variable.shape) > 1 and variable.name not in NOT_DECAYED
    ]


def prune(network: keras.Model, share: float) -> int:
    """Sets the smallest weights of a network to zero, over all of its layers together.

    Args:
        network: A built model; changed in place.
        share: Of the weights that are zero afterwards, between 0 and 1.

    Returns:
        How many are zero by that.
    """
    variables = prunable_weights(network)
    values = [keras.ops.convert_to_numpy(variable).astype(np.float32) for variable in variables]
    if not values:
        return 0
    magnitudes = np.concatenate([np.abs(value).ravel() for value in values])
    count = round(share * len(magnitudes))
    kept = np.ones(len(magnitudes), bool)
    # by their places and not by a threshold, so that equal weights do not make it more or fewer
    kept[np.argpartition(magnitudes, count)[:count] if count < len(kept) else slice(None)] = False
    start = 0
    for variable, value in zip(variables, values, strict=True):
        end = start + value.size
        variable.assign(value * kept[start:end].reshape(value.shape))
        start = end
    return count


@contextlib.contextmanager
def zeros_kept(network: keras.Model) -> Iterator[None]:
    """While it lasts, a weight that is zero now is zero after each step of a training."""
    variables = prunable_weights(network)
    before = [variable.constraint for variable in variables]
    for variable in variables:
        kept = keras.ops.convert_to_numpy(variable) != 0
        variable.constraint = _ZerosKept(kept, variable.constraint)
    try:
        yield
    finally:
        for variable, constraint in zip(variables, before, strict=True):
            variable.constraint = constraint
