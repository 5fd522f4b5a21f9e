import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tasks.fitting import FitSettings, feeding, fit
from tasks.fitting.feeding import fed

SETTINGS = FitSettings("classification", epochs=3, batch_size=8, seed=1, steps_per_execution=4)
Side = tuple[np.ndarray, np.ndarray]
# on the other backend, of which a process has only one; with what it finds on its last line
ON_JAX = """
import json
import time
import numpy as np
import keras
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from tasks.fitting import Checkpoint, FitSettings, feeding, fit
feeding.PIECE_BYTES = 512  # four pieces of an epoch, the last of less than a batch
class Slow(np.ndarray):
    def __getitem__(self, places):
        time.sleep(0.1)
        return np.asarray(self)[places]
def network():
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential([keras.Input((4,)), layers.Dropout(0.2), layers.Dense(2, "softmax")])
inputs = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
rows = inputs, (inputs[:, 0] > 0).astype(np.int32)
settings = FitSettings("classification", epochs=4, batch_size=8, seed=1, jit_compile="auto")
def trained(rows, settings, checkpoint=None, on_epoch=None):
    model, shares = network(), []
    def told(epoch, metrics):
        shares.append(metrics["data_wait_share"])
        if on_epoch: on_epoch(epoch)
    result = fit(model, rows, rows, settings, checkpoint=checkpoint, on_epoch=told)
    return model.get_weights(), shares, result
def stop(epoch):
    if epoch == 2: raise InterruptedError
whole, quick, _ = trained(rows, settings)
_, slow, result = trained((inputs.view(Slow), rows[1]), settings)
with TemporaryDirectory() as folder:
    checkpoint = Checkpoint(Path(folder) / "state.npz")
    try: trained(rows, settings, checkpoint, stop)
    except InterruptedError: pass
    resumed, _, _ = trained(rows, settings, checkpoint)
seen = []
with feeding.fed((np.arange(60), np.arange(60)), 8, 3) as feed:
    feed.batches[0]  # a look at the shape before the first epoch
    for epoch in range(2):
        feed.begin(epoch)
        seen.append([feed.batches[i][0].tolist() for i in range(feed.batches.num_batches)])
timed = []
class Timed(feeding.Feed):
    def seconds(self):
        timed.append((*super().seconds(), time.perf_counter() - self._began))
        return timed[-1][:2]
feeding.Feed = Timed
wide = [keras.layers.Dense(1024, "relu") for _ in range(6)]
model = keras.Sequential([keras.Input((1024,)), *wide, keras.layers.Dense(2, "softmax")])
many = np.random.default_rng(0).normal(size=(512, 1024)).astype(np.float32)
few = many[:8], np.zeros(8, np.int32)
at_once = replace(settings, epochs=2, batch_size=128, steps_per_execution=4)
fit(model, (many, np.zeros(512, np.int32)), few, at_once)
print(json.dumps({
    "stepped": timed[-1][1] / timed[-1][2],
    "quick": quick, "slow": slow, "slow_in_all": result.data_wait_share, "seen": seen,
    "resumed": max(float(abs(a - b).max()) for a, b in zip(whole, resumed)),
}))
"""


class Slow(np.ndarray):
    """An array that lies where reading takes time."""

    def __getitem__(self, places: Any) -> Any:
        time.sleep(0.1)
        return np.asarray(self)[places]


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(2, "softmax")]
    )


def rows(count: int = 60) -> Side:
    inputs = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    return inputs, (inputs[:, 0] > 0).astype(np.int32)


@pytest.fixture
def in_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows count as too large for the memory, and are read in four pieces of an epoch."""
    monkeypatch.setattr(feeding, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(feeding, "PIECE_BYTES", 512)


@pytest.fixture(scope="module")
def on_jax() -> dict[str, Any]:
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", ON_JAX]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def shares_of(train: Side) -> list[float]:
    found: list[float] = []
    fit(
        network(), train, rows(), SETTINGS,
        on_epoch=lambda epoch, metrics: found.append(metrics["data_wait_share"]),
    )  # fmt: skip
    return found


def test_the_rows_are_those_that_keras_itself_gives(tmp_path: Path) -> None:
    """In its order: what was trained before this was measured comes out again to the bit."""
    ours, plain = network(), network()
    fit(ours, rows(), rows(), replace(SETTINGS, epochs=1))
    plain.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy", steps_per_execution=4)
    keras.utils.set_random_seed(SETTINGS.seed)
    plain.fit(*rows(), batch_size=8, verbose=0)
    assert all(map(np.array_equal, ours.get_weights(), plain.get_weights()))


def test_rows_that_are_at_hand_are_not_waited_for() -> None:
    shares = shares_of(rows(4_000))
    assert len(shares) == SETTINGS.epochs
    assert 0 < statistics.median(shares) < 0.5


def test_rows_that_come_slowly_are_waited_for(in_file: None) -> None:
    inputs, labels = rows()
    # 4 pieces of 100 ms, and steps of next to nothing
    assert min(shares_of((inputs.view(Slow), labels))[1:]) > 0.3


def test_rows_that_stay_in_their_file_are_read_once_in_an_epoch(in_file: None) -> None:
    numbers = np.arange(60)
    seen = []
    with fed((numbers, numbers, None), 8, seed=3) as feed:
        for epoch in (0, 1, 0):
            feed.begin(epoch)
            seen.append([batch.numpy().tolist() for batch, _ in feed.batches])
    assert [len(batch) for batch in seen[0]] == [8] * 7 + [4]
    flat = [list(chain.from_iterable(epoch)) for epoch in seen]
    assert [sorted(epoch) for epoch in flat] == [list(range(60))] * 3
    assert flat[0] == flat[2] != flat[1]


def test_a_network_learns_from_rows_that_stay_in_their_file(in_file: None, tmp_path: Path) -> None:
    inputs, labels = rows(600)
    np.save(tmp_path / "inputs.npy", inputs.astype(np.float64))
    mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    result = fit(network(), (mapped, labels), (mapped, labels), replace(SETTINGS, epochs=6))
    assert result.history["val_accuracy"][-1] > 0.8
    assert 0 <= result.data_wait_share <= 1


@pytest.mark.slow
def test_jax_waits_for_slow_rows_and_not_for_others(on_jax: dict[str, Any]) -> None:
    assert min(on_jax["slow"][1:]) > 0.3 > statistics.median(on_jax["quick"])
    assert 0 < on_jax["slow_in_all"] < 1


@pytest.mark.slow
def test_steps_that_jax_has_only_queued_are_in_the_time_of_the_epoch(
    on_jax: dict[str, Any],
) -> None:
    assert on_jax["stepped"] > 0.7


@pytest.mark.slow
def test_jax_is_given_each_row_once_in_an_epoch_read_ahead(on_jax: dict[str, Any]) -> None:
    first, second = on_jax["seen"]
    assert [len(batch) for batch in first] == [8] * 7 + [4]
    flat = [list(chain.from_iterable(epoch)) for epoch in (first, second)]
    assert [sorted(epoch) for epoch in flat] == [list(range(60))] * 2
    assert flat[0] != flat[1]


@pytest.mark.slow
def test_a_training_on_jax_that_goes_on_ends_as_if_it_had_never_stopped(
    on_jax: dict[str, Any],
) -> None:
    assert on_jax["resumed"] == 0
