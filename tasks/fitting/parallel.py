"""One training over several devices, of one machine or of several: each has a part of every batch.

The batch keeps its size, so the result is that of one device, but for rounding. On JAX the parts
are joined by XLA: a batch that cannot be divided, as the last of an epoch, is computed whole by
each device, and no row is weighed otherwise. TensorFlow averages over its replicas, so the rows of
such a batch get weights that make up for parts of different sizes.
"""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

logger = logging.getLogger(__name__)
Rows = tuple[np.ndarray, ...]


class IndivisibleBatchError(ValueError):
    """Processes that each have a part in every batch cannot divide it."""


class _Shares(keras.distribution.DataParallel):  # type: ignore[misc]  # keras ships no types
    """Keras's data parallelism, but for batches that the devices cannot divide.

    Args:
        devices: Their names, of all processes.
    """

    def __init__(self, devices: list[str]) -> None:
        super().__init__(devices=devices, auto_shard_dataset=False)
        self.is_divided = True

    def get_data_layout(self, data_shape: tuple[int, ...]) -> Any:
        """Where the rows of a batch go; Keras asks once, for the first batch of an epoch."""
        return _AskedOnce(_LayoutOfEachBatch(self, super().get_data_layout(data_shape)))


class _AskedOnce:
    """What Keras takes the layout out of before it hands it on for every batch."""

    def __init__(self, layout: "_LayoutOfEachBatch") -> None:
        self.backend_layout = layout


class _LayoutOfEachBatch(keras.distribution.TensorLayout):  # type: ignore[misc]
    """A layout that Keras asks for JAX's for each batch: by rows, or whole on each device."""

    def __init__(self, shares: _Shares, divided: Any) -> None:
        super().__init__(divided.axes, divided.device_mesh)
        self._shares, self._divided = shares, divided
        self._whole = keras.distribution.TensorLayout(
            [None] * len(divided.axes), divided.device_mesh
        )

    @property
    def backend_layout(self) -> Any:
        """JAX's sharding of the batch that was read last."""
        layout = self._divided if self._shares.is_divided else self._whole
        return layout.backend_layout


@contextlib.contextmanager
def spread(batch_size: int) -> Iterator[int]:
    """While it lasts, networks are built and trained on as many devices as can divide a batch.

    Those are the GPUs that this process sees, or its virtual CPUs where it has several; on JAX
    also those of the processes that it has joined.

    Args:
        batch_size: Rows of a batch, over all devices.

    Yields:
        How many there are.

    Raises:
        IndivisibleBatchError: The devices of several processes cannot divide a batch.
    """
    with contextlib.ExitStack() as stack:
        names = _device_names()
        count = max(n for n in range(1, len(names) + 1) if batch_size % n == 0)
        if count < len(names):
            _require_one_process(len(names), batch_size)
            logger.warning(
                "Of %d devices %d are used, as a batch of %d rows cannot be divided by more; "
                "choose training.batch_size as a multiple of %d to use all",
                len(names), count, batch_size, len(names),
            )  # fmt: skip
        if count > 1:
            stack.enter_context(_scope(names[:count]))
        yield count


def replicas() -> int:
    """Copies of the network between which TensorFlow divides each batch; 1 on another backend."""
    if keras.config.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def even(size: int, rows: int) -> int:
    """Rows of a validation batch such that all devices divide it evenly.

    On JAX they would else compute it whole, each of them. On TensorFlow the first one has to be so,
    of however few rows: Keras adds up its parts to learn its shape, and cannot if they differ.

    Args:
        size: Rows of a batch, as wished.
        rows: Rows in all.
    """
    if shares := _shares():
        count = int(shares.device_mesh.devices.size)
        return max(size // count * count, count)
    count = replicas()
    return size if count == 1 else max(min(size, rows) // count * count, count)


def is_spread() -> bool:
    """Whether batches are divided between devices here and now."""
    return _shares() is not None or replicas() > 1


def own_part(batch: Rows) -> Rows:
    """The rows of a batch that this process gives to its devices.

    Args:
        batch: Inputs, labels and weights of a whole batch, [rows, ...] each.
    """
    shares = _shares()
    if shares is None:
        return batch
    import jax

    rows = len(batch[0])
    shares.is_divided = rows % shares.device_mesh.devices.size == 0
    if not shares.is_divided:
        return batch
    each = rows // jax.process_count()
    start = jax.process_index() * each
    return tuple(array[start : start + each] for array in batch)


def weighed(dataset: Any, *, per_token: bool, trains: bool) -> Any:
    """A TensorFlow dataset of batches whose rows count the same in whichever part they come.

    Args:
        dataset: Of inputs, labels and perhaps weights, in batches.
        per_token: Whether the loss is a mean over tokens with a weight: then over those of the
            whole batch, and not of each part.
        trains: Whether gradients are made of it; the mean of a metric needs no correction.
    """
    import tensorflow as tf

    count = replicas()

    def with_weights(inputs: Any, labels: Any, weights: Any = None) -> Any:
        rows = tf.shape(labels)[0]
        if weights is None:
            weights = tf.ones(rows)
        if per_token:
            weights *= tf.math.divide_no_nan(
                tf.cast(tf.size(weights), tf.float32), tf.reduce_sum(weights)
            )
        if trains:
            largest = -(-rows // count)
            before = tf.range(rows) // largest * largest
            part = tf.minimum(largest, rows - before) * count / rows
            shape = tf.concat([[rows], tf.ones(tf.rank(weights) - 1, tf.int32)], 0)
            weights *= tf.reshape(tf.cast(part, tf.float32), shape)
        return inputs, labels, weights

    return dataset.map(with_weights, num_parallel_calls=tf.data.AUTOTUNE)


@contextlib.contextmanager
def joint_statistics(network: keras.Model) -> Iterator[None]:
    """While it lasts, batch normalisation is over the rows of all replicas, as on one device."""
    layers = [
        layer
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized
    ]
    joined = layers if replicas() > 1 else []
    for layer in joined:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer in joined:
            layer.synchronized = False


def _shares() -> _Shares | None:
    distribution = keras.distribution.distribution()
    return distribution if isinstance(distribution, _Shares) else None


def _device_names() -> list[str]:
    """Of what this process trains on, and on JAX of all processes, in their order."""
    backend = keras.config.backend()
    if backend == "jax":
        return list(keras.distribution.list_devices())
    if backend == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_logical_devices
        return [device.name for device in devices("GPU") or devices("CPU")]
    return ["default"]


def _scope(names: list[str]) -> contextlib.AbstractContextManager[Any]:
    if keras.config.backend() == "jax":
        scope: contextlib.AbstractContextManager[Any] = _Shares(names).scope()
        return scope
    import tensorflow as tf

    # NCCL where these are GPUs, and the plain way where they are not
    mirrored: contextlib.AbstractContextManager[Any] = tf.distribute.MirroredStrategy(names).scope()
    return mirrored


def _require_one_process(devices: int, batch_size: int) -> None:
    if keras.config.backend() != "jax":
        return
    import jax

    if jax.process_count() > 1:
        raise IndivisibleBatchError(
            f"a batch of {batch_size} rows cannot be divided between {devices} devices of "
            f"{jax.process_count()} processes"
        )
