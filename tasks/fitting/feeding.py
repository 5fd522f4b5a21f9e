"""The training rows in batches: read ahead by another thread, and how long the loop waits for them.

The share of an epoch that is spent waiting says whether the rows or the network set the pace. A GPU
works off a queue of steps while the loop waits, so it idles for no more than that share.
"""

import contextlib
import itertools
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from tasks.fitting import parallel

# rows are read in pieces of so many bytes, and so many pieces ahead
PIECE_BYTES, PIECES_AHEAD = 2**24, 2
# larger arrays stay in their file on TensorFlow as well, which copies smaller ones as a whole
IN_MEMORY_BYTES = 2**30
MICROSECOND = 1e-6
DATA_WAIT_SHARE = "data_wait_share"
Rows = tuple[np.ndarray, ...]
GivenRows = tuple[np.ndarray | None, ...]


class Feed:
    """The rows of a training, as `model.fit` takes them, and the time that it waits for them.

    Args:
        batches: What `model.fit` takes as `x`.
        begin: Called with the number of each epoch, from 0, before it.
        waited: Seconds that the loop has waited so far.
    """

    def __init__(
        self, batches: Any, begin: Callable[[int], None], waited: Callable[[], float]
    ) -> None:
        self.batches = batches
        self._begin, self._waited = begin, waited
        self._before = self._began = self._ended = 0.0

    def begin(self, epoch: int) -> None:
        """An epoch begins, counted from 0."""
        self._begin(epoch)
        self._before, self._began, self._ended = self._waited(), time.perf_counter(), 0.0

    def end(self) -> None:
        """The epoch's last step is done; what follows, as validation, does not count."""
        self._ended = self._ended or time.perf_counter()

    def seconds(self) -> tuple[float, float]:
        """Of the epoch: those that the loop waited for rows, and all."""
        self.end()
        return self._waited() - self._before, self._ended - self._began


def share(waited: float, seconds: float) -> float:
    """Share of some seconds that was spent waiting, between 0 and 1."""
    return min(waited / seconds, 1.0) if seconds > 0 else 0.0


@contextlib.contextmanager
def fed(rows: GivenRows, size: int, seed: int, *, per_token: bool = False) -> Iterator[Feed]:
    """While it lasts, rows are read in batches, in another order each epoch.

    On JAX the order follows from the seed and the number of the epoch alone, and so does that of
    rows that stay in their file; else it is by TensorFlow's own seed.

    Args:
        rows: Inputs, labels and weights, of the same length; they may be memory-mapped, and weights
            may be None.
        size: Rows of a batch.
        seed: Of the order.
        per_token: Whether the loss is a mean over tokens with a weight.
    """
    pieces = _Pieces(rows, size, seed)
    if keras.config.backend() == "tensorflow":
        dataset = _dataset_in_memory(pieces) if pieces.fit_in_memory else _dataset_of(pieces)
        if parallel.is_spread():
            dataset = parallel.weighed(dataset, per_token=per_token, trains=True)
        with _timed(dataset, pieces.batches) as (batches, waited):
            yield Feed(batches, pieces.begin, waited)
        return
    with ThreadPoolExecutor(1, "rows") as reader:
        ahead = _ReadAhead(pieces, reader)
        try:
            yield Feed(ahead, ahead.begin, lambda: ahead.waited)
        finally:
            reader.shutdown(cancel_futures=True)


def in_order(rows: GivenRows, size: int, *, per_token: bool = False) -> dict[str, Any]:
    """Rows in their own order, as the arguments of `model.fit` for validation.

    Args:
        rows: Inputs, labels and weights, as for `fed`.
        size: Rows of a batch.
        per_token: As for `fed`.
    """
    pieces = _Pieces(rows, size)
    if keras.config.backend() == "tensorflow":
        if parallel.is_spread() and per_token:
            dataset = parallel.weighed(_dataset_of(pieces), per_token=True, trains=False)
            return {"validation_data": dataset}
        if not pieces.fit_in_memory:
            return {"validation_data": _dataset_of(pieces)}
    elif parallel.is_spread():
        return {"validation_data": _InOrder(pieces)}
    return {"validation_data": rows, "validation_batch_size": size}


class _Pieces:
    """The rows of an epoch in pieces, each of whole batches but for the last.

    Args:
        rows: Of the same length; None are left out.
        size: Rows of a batch.
        seed: Of their order; None keeps it.
    """

    def __init__(self, rows: GivenRows, size: int, seed: int | None = None) -> None:
        self.arrays: Rows = tuple(array for array in rows if array is not None)
        self.size, self.epoch = size, 0
        self.count = len(self.arrays[0])
        self.batches = -(-self.count // size)
        self._seed = seed
        taken = sum(array.nbytes for array in self.arrays)
        self.fit_in_memory = taken <= IN_MEMORY_BYTES
        self.batches_each = max(1, PIECE_BYTES * self.count // max(taken * size, 1))

    def begin(self, epoch: int) -> None:
        """An epoch begins, counted from 0."""
        self.epoch = epoch

    def of_epoch(self, epoch: int) -> Iterator[Rows]:
        """The pieces of an epoch, each read as it is asked for."""
        order = np.arange(self.count)
        if self._seed is not None:
            order = np.random.default_rng((self._seed, epoch)).permutation(self.count)
        rows = self.batches_each * self.size
        for start in range(0, self.count, rows):
            yield self.at(order[start : start + rows])

    def at(self, places: np.ndarray) -> Rows:
        """The rows at some places, real numbers of the width that networks are given."""
        width = keras.config.floatx()
        found = [np.asarray(array[places]) for array in self.arrays]
        return tuple(each.astype(width) if each.dtype == np.float64 else each for each in found)


class _ReadAhead(keras.utils.PyDataset):  # type: ignore[misc]  # keras ships no types
    """Batches out of pieces that another thread reads, those of the next epoch as well.

    Args:
        pieces: The rows.
        reader: Of one thread.
    """

    def __init__(self, pieces: _Pieces, reader: Executor) -> None:
        super().__init__()
        self.waited = 0.0
        self._pieces, self._reader = pieces, reader
        self._coming: Iterator[Rows] = iter(())
        self._is_begun = False
        self._asked: deque[Future[Rows]] = deque()
        self._piece: Rows = ()

    @property
    def num_batches(self) -> int:
        """Of an epoch."""
        return self._pieces.batches

    def begin(self, epoch: int) -> None:
        """An epoch begins, counted from 0; each is asked for as a whole, up to where one stops."""
        if not self._is_begun:
            self._is_begun = True
            epochs = itertools.count(epoch)
            self._coming = itertools.chain.from_iterable(map(self._pieces.of_epoch, epochs))
            for _ in range(PIECES_AHEAD):
                self._ask()

    def __getitem__(self, index: int) -> Rows:
        """The next batch; before the first epoch any, as Keras then looks at shapes only."""
        size, each = self._pieces.size, self._pieces.batches_each
        if not self._is_begun:
            return parallel.own_part(self._pieces.at(np.arange(min(size, self._pieces.count))))
        if index % each == 0:
            started = time.perf_counter()
            self._piece = self._asked.popleft().result()
            self.waited += time.perf_counter() - started
            self._ask()
        start = index % each * size
        return parallel.own_part(tuple(array[start : start + size] for array in self._piece))

    def _ask(self) -> None:
        self._asked.append(self._reader.submit(next, self._coming))


class _InOrder(keras.utils.PyDataset):  # type: ignore[misc]  # keras ships no types
    """Batches in the rows' own order, of which each process gives its part.

    Args:
        pieces: The rows.
    """

    def __init__(self, pieces: _Pieces) -> None:
        super().__init__()
        self._pieces = pieces

    @property
    def num_batches(self) -> int:
        """Of all rows."""
        return self._pieces.batches

    def __getitem__(self, index: int) -> Rows:
        """This process's part of a batch."""
        start, size = index * self._pieces.size, self._pieces.size
        places = np.arange(start, min(start + size, self._pieces.count))
        return parallel.own_part(self._pieces.at(places))


def _dataset_in_memory(pieces: _Pieces) -> Any:
    """The dataset that Keras itself makes of arrays: one gather per batch, in its own threads."""
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

    inputs, labels, *weights = pieces.arrays
    adapter = ArrayDataAdapter(inputs, labels, *weights, batch_size=pieces.size, shuffle=True)
    return adapter.get_tf_dataset()


def _dataset_of(pieces: _Pieces) -> Any:
    """A dataset that reads one piece after the other in a thread of its own."""
    import tensorflow as tf

    signature = tuple(
        tf.TensorSpec((None, *each.shape[1:]), each.dtype) for each in pieces.at(np.arange(0))
    )
    read = tf.data.Dataset.from_generator(
        lambda: pieces.of_epoch(pieces.epoch), output_signature=signature
    ).prefetch(PIECES_AHEAD)
    batches = read.flat_map(
        lambda *piece: tf.data.Dataset.from_tensor_slices(piece).batch(pieces.size)
    )
    return batches.prefetch(tf.data.AUTOTUNE).apply(
        tf.data.experimental.assert_cardinality(pieces.batches)
    )


@contextlib.contextmanager
def _timed(dataset: Any, batches: int) -> Iterator[tuple[Any, Callable[[], float]]]:
    """A dataset of whose every batch TensorFlow notes how long it was waited for.

    It does so in its own code, within the step, where Python is not asked: the operations are those
    of `tf.data.experimental.StatsAggregator`, whose Python part was taken out.
    """
    import tensorflow as tf

    experimental, operations = tf.data.experimental, tf.raw_ops
    name = f"rows-{uuid.uuid4().hex}"
    notes = operations.StatsAggregatorHandle(container="", shared_name=name)
    specs = tf.nest.flatten(dataset.element_spec)
    kinds = {
        "output_types": [spec.dtype for spec in specs],
        "output_shapes": [spec.shape for spec in specs],
    }
    variant = operations.LatencyStatsDataset(
        input_dataset=experimental.to_variant(dataset), tag=name, **kinds
    )
    variant = operations.SetStatsAggregatorDataset(
        input_dataset=variant, stats_aggregator=notes, tag="", counter_prefix="", **kinds
    )
    options = tf.data.Options()
    # a prefetch after the clock would hide the waiting from it
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_optimization.inject_prefetch = False
    timed = experimental.from_variant(variant, dataset.element_spec).with_options(options)

    def waited() -> float:
        summary = tf.compat.v1.Summary()
        summary.ParseFromString(operations.StatsAggregatorSummary(iterator=notes).numpy())
        found = (value.histo.sum for value in summary.value if value.tag == name)
        return float(sum(found)) * MICROSECOND

    try:
        yield timed.apply(experimental.assert_cardinality(batches)), waited
    finally:
        operations.DestroyResourceOp(resource=notes, ignore_lookup_error=True)
