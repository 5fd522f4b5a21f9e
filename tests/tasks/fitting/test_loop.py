import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from tasks import devices, fitting
from tasks.fitting import Checkpoint, DivergedError, FitSettings, Progress, fit

SETTINGS = FitSettings("classification", epochs=4, batch_size=8, learning_rate=0.01, seed=1)
Side = tuple[np.ndarray, np.ndarray]


def network(seed: int = 1, dropout: float = 0.2) -> keras.Model:
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8, activation="relu"),
            layers.Dropout(dropout),
            layers.Dense(2, activation="softmax"),
        ]
    )


def sides(rows: int = 90) -> tuple[Side, Side]:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(rows, 4)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int32)
    return (inputs[:60], labels[:60]), (inputs[60:], labels[60:])


def weights_equal(one: keras.Model, two: keras.Model) -> bool:
    return all(map(np.array_equal, one.get_weights(), two.get_weights()))


class Interrupted(Exception):
    """Stands for whatever ends a training early."""


def interrupt_after(last: int, then: Exception) -> Callable[..., None]:
    def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == last:
            raise then

    return on_epoch


def test_training_learns_and_reports_each_epoch() -> None:
    told: list[tuple[int, float]] = []
    result = fit(
        network(),
        *sides(),
        replace(SETTINGS, epochs=15),
        on_epoch=lambda epoch, metrics: told.append((epoch, metrics["val_loss"])),
    )
    assert told == list(enumerate(result.history["val_loss"], start=1))
    assert result.history["val_accuracy"][-1] > 0.8
    assert result.resumed_from == 0
    assert result.rows_per_second == pytest.approx(60 * 15 / result.seconds)


def test_best_epochs_weights_are_kept_when_all_epochs_run() -> None:
    model, (train, validation) = network(), sides()
    result = fit(model, train, validation, replace(SETTINGS, epochs=12, learning_rate=0.5))
    losses = result.history["val_loss"]
    assert losses[result.best_epoch - 1] == min(losses) < losses[-1]
    assert model.evaluate(*validation, verbose=0)[0] == pytest.approx(min(losses), rel=1e-4)


def test_patience_stops_and_zero_never_does() -> None:
    hopeless = replace(SETTINGS, epochs=12, learning_rate=0.5)
    assert len(fit(network(), *sides(), replace(hopeless, patience=0)).history["loss"]) == 12
    stopped = fit(network(), *sides(), replace(hopeless, patience=2))
    assert len(stopped.history["loss"]) == stopped.best_epoch + 2 < 12


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("steps", [1, 5])
def test_same_seed_gives_the_same_weights(steps: int, deterministic: bool) -> None:
    models = []
    for _ in range(2):
        with devices.repeatable(1, deterministic=deterministic):
            models.append(network())
            fit(models[-1], *sides(), replace(SETTINGS, epochs=2, steps_per_execution=steps))
    assert weights_equal(*models)


def test_steps_per_execution_changes_no_weight_also_with_a_remainder() -> None:
    models = [network(), network()]
    for model, steps in zip(models, (1, 5), strict=True):
        fit(model, *sides(), replace(SETTINGS, steps_per_execution=steps))
    for one, two in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        assert one == pytest.approx(two, abs=1e-5)


def test_another_seed_shuffles_otherwise() -> None:
    models = [network(), network()]
    for model, seed in zip(models, (1, 2), strict=True):
        fit(model, *sides(), replace(SETTINGS, seed=seed))
    assert not weights_equal(*models)


def test_loss_that_is_not_finite_stops_with_epoch_and_value() -> None:
    inputs = np.full((60, 4), 1e30, dtype=np.float32)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    huge = (inputs, np.zeros(60, dtype=np.float32))
    with pytest.raises(DivergedError, match=r"loss is (inf|nan) after epoch 1"):
        fit(model, huge, huge, replace(SETTINGS, problem="regression"))


def test_class_weights_raise_the_share_of_a_rare_class() -> None:
    (inputs, _), _ = sides()
    noise = np.random.default_rng(3).random(len(inputs))
    rare = (inputs, (noise < 0.15).astype(np.int32))
    found = []
    for weights in (None, (0.6, 4.0)):
        model = network(dropout=0)
        fit(model, rare, rare, replace(SETTINGS, epochs=6, class_weights=weights))
        found.append(model.predict(inputs, verbose=0)[:, 1].mean())
    assert found[0] < 0.3 < found[1]


def test_regression_has_its_own_loss_and_metric() -> None:
    (inputs, _), (held_out, _) = sides()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    settings = replace(SETTINGS, problem="regression", epochs=15, learning_rate=0.1)
    train, validation = (inputs, inputs.sum(axis=1)), (held_out, held_out.sum(axis=1))
    result = fit(model, train, validation, settings)
    assert set(result.history) == {"loss", "mae", "val_loss", "val_mae"}
    assert min(result.history["val_mae"]) < 0.1


def test_memory_mapped_arrays_train_as_well(tmp_path: Path) -> None:
    train, validation = sides()
    np.save(tmp_path / "inputs.npy", train[0])
    mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    one, two = network(), network()
    fit(one, train, validation, SETTINGS)
    fit(two, (mapped, train[1]), validation, SETTINGS)
    assert weights_equal(one, two)


def test_interrupted_training_goes_on_at_the_next_epoch(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "folder" / "state.npz")
    interrupt = interrupt_after(2, Interrupted())
    with pytest.raises(Interrupted):
        fit(network(), *sides(), SETTINGS, checkpoint=checkpoint, on_epoch=interrupt)
    seen: list[int] = []
    result = fit(
        network(seed=99),
        *sides(),
        SETTINGS,
        checkpoint=checkpoint,
        on_epoch=lambda epoch, _: seen.append(epoch),
    )
    assert seen == [3, 4]
    assert (result.resumed_from, len(result.history["loss"])) == (2, 4)


def test_resumed_adam_takes_the_step_that_was_next(tmp_path: Path) -> None:
    # one step per epoch and no dropout, so that the order of the rows does not matter
    one_batch = replace(SETTINGS, batch_size=60, epochs=3)
    whole, cut, resumed = network(dropout=0), network(dropout=0), network(seed=7, dropout=0)
    checkpoint = Checkpoint(tmp_path / "state.npz")
    fit(whole, *sides(), one_batch)
    with pytest.raises(Interrupted):
        fit(
            cut,
            *sides(),
            one_batch,
            checkpoint=checkpoint,
            on_epoch=interrupt_after(2, Interrupted()),
        )
    fit(resumed, *sides(), one_batch, checkpoint=checkpoint)
    for one, two in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert one == pytest.approx(two, abs=1e-6)


def test_early_stopping_counts_epochs_before_the_interruption(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state.npz")
    hopeless = replace(SETTINGS, epochs=12, learning_rate=0.5, patience=2)
    best = fit(network(), *sides(), hopeless).best_epoch
    with pytest.raises(Interrupted):
        fit(
            network(),
            *sides(),
            hopeless,
            checkpoint=checkpoint,
            on_epoch=interrupt_after(best + 2, Interrupted()),
        )
    model = network(seed=5)
    result = fit(model, *sides(), hopeless, checkpoint=checkpoint)
    assert (result.resumed_from, result.best_epoch) == (best + 2, best)
    assert model.evaluate(*sides()[1], verbose=0)[0] == pytest.approx(
        result.history["val_loss"][best - 1], rel=1e-4
    )


@pytest.mark.parametrize("damage", ["cut short", "empty", "not a checkpoint"])
def test_damaged_checkpoint_is_not_used(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = Checkpoint(tmp_path / "state.npz")
    fit(network(), *sides(), replace(SETTINGS, epochs=1), checkpoint=checkpoint)
    content = checkpoint.path.read_bytes()
    damaged = {"cut short": content[:-200], "empty": b"", "not a checkpoint": b"something else"}
    checkpoint.path.write_bytes(damaged[damage])
    with caplog.at_level(logging.WARNING):
        assert fit(network(), *sides(), SETTINGS, checkpoint=checkpoint).resumed_from == 0
    assert "training starts anew" in caplog.text


def test_checkpoint_of_another_network_is_not_used(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state.npz")
    checkpoint.save([np.zeros(3)], Progress({"val_loss": [1.0]}, [np.zeros(3)]))
    assert fit(network(), *sides(), SETTINGS, checkpoint=checkpoint).resumed_from == 0


def test_each_save_is_told(tmp_path: Path) -> None:
    sizes: list[int] = []
    path = tmp_path / "state.npz"
    checkpoint = Checkpoint(path, lambda: sizes.append(path.stat().st_size))
    fit(network(), *sides(), SETTINGS, checkpoint=checkpoint)
    assert len(sizes) == SETTINGS.epochs


def test_folder_alone_trains(tmp_path: Path) -> None:
    """Carried to a machine that has nothing else of ours."""
    carried = tmp_path / "tasks" / "fitting"
    shutil.copytree(Path(fitting.__file__).parent, carried)
    (tmp_path / "tasks" / "__init__.py").touch()
    script = """
import sys
sys.path.insert(0, sys.argv[1])
import keras, numpy as np
from tasks.fitting import FitSettings, fit
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="softmax")])
rows = np.ones((8, 2), np.float32), np.zeros(8, np.int32)
fit(model, rows, rows, FitSettings("classification", epochs=1))
ours = {n for n in sys.modules if n.split(".")[0] in ("tasks", "flows", "infra", "data_checks")}
sys.exit(", ".join(n for n in ours if n != "tasks" and not n.startswith("tasks.fitting")) or 0)
"""
    command = [sys.executable, "-c", script, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
