"""Our training loop against a plain one written by hand in JAX: same network, batches and device.

Needs Keras, JAX and NumPy and the folder `tasks/fitting`, nothing else of ours; it makes its own
rows. In each round both train the same epochs, in turn; the fastest epoch counts, and never the
first, which compiles. Prints a Markdown table. The plain loop counts no accuracy, validates nothing
and keeps no weights of the best epoch, all of which is in our time.

Usage: accelerator.py [--size full|tiny] [--rounds 3] [--precision float32|mixed_bfloat16]
"""

import argparse
import functools
import itertools
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import keras
import numpy as np

from tasks.fitting import FitSettings, fit

SEED, RATE, EPOCHS = 1, 1e-4, 4
VOCABULARY = 30_522
# as `tasks.devices` has it
STEPS_PER_EXECUTION = 32
BFLOAT16_MAJOR = 8
Rows = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Contest:
    """A network and the rows that both train it on."""

    name: str
    build: Callable[[], keras.Model]
    rows: Rows
    batch: int


@dataclass(frozen=True)
class Found:
    """Rows per second of the fastest epoch, the last epoch's loss, and the share of waiting."""

    speed: float
    loss: float
    waited: float = 0.0


def cnn() -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax", dtype="float32"),
        ]
    )


def residual(width: int, blocks: int) -> keras.Model:
    """Three stages of residual blocks on 32 x 32 pixels, after He et al. for CIFAR-10."""
    layers = keras.layers
    given = keras.Input((32, 32, 3), dtype="uint8")
    x = layers.Conv2D(width, 3, padding="same")(layers.Rescaling(1 / 255)(given))
    for stage, block in itertools.product(range(3), range(blocks)):
        strides = 2 if stage and not block else 1
        filters = width * 2**stage
        path = x
        for step in (strides, 1):
            path = layers.Activation("relu")(layers.BatchNormalization()(path))
            path = layers.Conv2D(filters, 3, strides=step, padding="same")(path)
        if x.shape != path.shape:
            x = layers.Conv2D(filters, 1, strides=strides)(x)
        x = layers.Add()([x, path])
    x = layers.GlobalAveragePooling2D()(layers.Activation("relu")(layers.BatchNormalization()(x)))
    return keras.Model(given, layers.Dense(10, activation="softmax", dtype="float32")(x))


def bert(depth: int, heads: int, width: int, length: int) -> keras.Model:
    """BERT with a classifier on its first token, of Keras's own layers, from random weights."""
    layers = keras.layers
    given = keras.Input((length,), dtype="int32")
    places = keras.ops.zeros_like(given) + np.arange(length, dtype=np.int32)
    x = layers.Embedding(VOCABULARY, width)(given) + layers.Embedding(length, width)(places)
    x = layers.LayerNormalization()(x)
    for _ in range(depth):
        attended = layers.MultiHeadAttention(heads, width // heads)(x, x)
        x = layers.LayerNormalization()(x + attended)
        widened = layers.Dense(4 * width, activation="gelu")(x)
        x = layers.LayerNormalization()(x + layers.Dense(width)(widened))
    pooled = layers.Dense(width, activation="tanh")(x[:, 0])
    return keras.Model(given, layers.Dense(2, activation="softmax", dtype="float32")(pooled))


def contests(size: str) -> list[Contest]:
    """What is measured: of full size for a GPU, tiny for a look at whether it works."""
    random = np.random.default_rng(SEED)

    def images(count: int, *shape: int) -> Rows:
        labels = random.integers(0, 10, count).astype(np.int32)
        pixels = random.integers(0, 128, (count, *shape), dtype=np.uint8)
        return pixels + (12 * labels).astype(np.uint8).reshape(-1, 1, 1, 1), labels

    def texts(count: int, length: int) -> Rows:
        labels = random.integers(0, 2, count).astype(np.int32)
        words = random.integers(1000, 15000, (count, length), dtype=np.int32)
        return words * (1 + labels[:, None]), labels

    full = size == "full"
    width, blocks = (64, 3) if full else (8, 1)
    depth, heads, hidden, length = (12, 12, 768, 128) if full else (1, 2, 16, 16)
    return [
        Contest("MNIST-CNN", cnn, images(60_000 if full else 96, 28, 28, 1), 128 if full else 16),
        Contest(
            f"ResNet, {6 * blocks + 2} layers",
            functools.partial(residual, width, blocks),
            images(20_000 if full else 48, 32, 32, 3),
            128 if full else 16,
        ),
        Contest(
            f"BERT, {depth} layers of {hidden}, fine-tuning",
            functools.partial(bert, depth, heads, hidden, length),
            texts(4_000 if full else 32, length),
            32 if full else 8,
        ),
    ]


def plain(contest: Contest) -> Found:
    """What is written by hand: one compiled step, and a loop over shuffled batches."""
    model, optimizer = network(contest), keras.optimizers.Adam(RATE)
    optimizer.build(model.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy()

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, inputs, labels):
        trained, others, moments = state

        def loss(trained, others):
            outputs, others = model.stateless_call(trained, others, inputs, training=True)
            return loss_of(labels, outputs), others

        (value, others), slopes = jax.value_and_grad(loss, has_aux=True)(trained, others)
        trained, moments = optimizer.stateless_apply(moments, slopes, trained)
        return (trained, others, moments), value

    variables = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    state = tuple([jax.numpy.copy(each.value) for each in group] for group in variables)
    inputs, labels = contest.rows
    seconds, loss = [], 0.0
    for epoch in range(EPOCHS):
        started = time.perf_counter()
        order = np.random.default_rng((SEED, epoch)).permutation(len(labels))
        losses = []
        for start in range(0, len(order), contest.batch):
            rows = order[start : start + contest.batch]
            state, value = step(state, inputs[rows], labels[rows])
            losses.append(value)
        jax.block_until_ready(state)
        seconds.append(time.perf_counter() - started)
        loss = float(np.mean([float(each) for each in losses]))
    return Found(len(labels) / min(seconds[1:]), loss)


def ours(contest: Contest) -> Found:
    """The loop that the training stage calls, with all that it adds."""
    ends: list[float] = []
    settings = FitSettings(
        "classification", epochs=EPOCHS, batch_size=contest.batch, learning_rate=RATE, seed=SEED,
        steps_per_execution=STEPS_PER_EXECUTION, jit_compile="auto",
    )  # fmt: skip
    few = (contest.rows[0][: contest.batch], contest.rows[1][: contest.batch])
    result = fit(
        network(contest), contest.rows, few, settings,
        on_epoch=lambda *_: ends.append(time.perf_counter()),
    )  # fmt: skip
    seconds = [end - start for start, end in itertools.pairwise(ends)]
    speed = len(contest.rows[1]) / min(seconds)
    return Found(speed, result.history["loss"][-1], result.data_wait_share)


def network(contest: Contest) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    return contest.build()


def table_row(contest: Contest, rounds: int) -> str:
    """Runs both in turn, in another order each round."""
    found: dict[str, list[Found]] = {"plain": [], "ours": []}
    for number in range(rounds):
        for run in (plain, ours) if number % 2 == 0 else (ours, plain):
            found[run.__name__].append(run(contest))
    speeds = [statistics.median(each.speed for each in side) for side in found.values()]
    ratios = [a.speed / b.speed for a, b in zip(found["ours"], found["plain"], strict=True)]
    losses = [side[-1].loss for side in found.values()]
    return (
        f"| {contest.name} | {contest.batch} | {speeds[0]:,.0f} | {speeds[1]:,.0f} "
        f"| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) "
        f"| {losses[0]:.4f} / {losses[1]:.4f} | {found['ours'][-1].waited:.1%} |"
    )


def best_precision() -> str:
    """Mixed bfloat16 where the chip computes it, as `tasks.devices` decides."""
    capability = str(getattr(jax.devices()[0], "compute_capability", None) or "0.0")
    return (
        "mixed_bfloat16"
        if int(capability.split(".", maxsplit=1)[0]) >= BFLOAT16_MAJOR
        else "float32"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("float32", "mixed_bfloat16"))
    given = parser.parse_args()
    precision = given.precision or best_precision()
    keras.config.set_dtype_policy(precision)
    device = jax.devices()[0].device_kind
    print(
        f"{device}, {precision}, {datetime.now(UTC):%Y-%m-%d}; Keras {keras.__version__} on JAX "
        f"{jax.__version__}; {given.rounds} rounds\n\n"
        "| Network | Batch | Plain, rows/s | Roundhouse, rows/s | Ratio | Loss, plain / ours "
        "| Waited |\n| --- | --- | --- | --- | --- | --- | --- |",
        flush=True,
    )
    for contest in contests(given.size):
        print(table_row(contest, given.rounds), flush=True)


main()
