import logging
from collections.abc import Sequence
from pathlib import Path

import fsspec
import keras
import numpy as np
import pytest

from tasks import tracking
from tasks.config import ModelConfig, TrainingConfig
from tasks.errors import ConfigError, TrainingDiverged
from tasks.fitting import DivergedError
from tasks.handoffs import Arrays, PreparedData, RunContext, Snapshot, StoredFile
from tasks.storage import Storage
from tasks.training import train_model

MODEL = ModelConfig(hidden_units=(8,), dropout=0.1)
TRAINING = TrainingConfig(epochs=4, batch_size=8, learning_rate=0.01, seed=3)


def stored(storage: Storage, array: np.ndarray) -> StoredFile:
    with storage.workspace() as folder:
        np.save(folder / "array.npy", array)
        return storage.put_file(folder / "array.npy")


def side(storage: Storage, inputs: np.ndarray, labels: np.ndarray, classes: int) -> Arrays:
    return Arrays(
        inputs=stored(storage, inputs),
        labels=stored(storage, labels),
        rows=stored(storage, np.arange(len(labels))),
        count=len(labels),
        label_counts=tuple(np.bincount(labels).tolist()) if classes else (),
    )


def prepared(
    context: RunContext, labels: np.ndarray | None = None, classes: int = 2
) -> PreparedData:
    storage = Storage(context.storage_uri)
    inputs = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int32) if labels is None else labels
    parts = (slice(0, 60), slice(60, 75), slice(75, 90))
    arrays = [side(storage, inputs[part], labels[part], classes) for part in parts]
    nothing = storage.put_bytes(b"{}")
    return PreparedData(
        snapshot=Snapshot(
            dataset="trial",
            problem="classification" if classes else "regression",
            file=nothing,
            rows=90,
            columns=(),
            source_digest="",
        ),
        split={},
        train=arrays[0],
        validation=arrays[1],
        test=arrays[2],
        preprocessing=nothing,
        classes=tuple(map(str, range(classes))),
        input_shape=(4,),
    )


def logged_epochs(context: RunContext, metric: str) -> Sequence[int]:
    history = tracking.client(context.mlflow_uri).get_metric_history(context.run_id, metric)
    return [point.step for point in history]


def unfinished(context: RunContext) -> list[Path]:
    return [path for path in Path(context.storage_uri, "unfinished").rglob("*") if path.is_file()]


def interrupt(
    context: RunContext,
    data: PreparedData,
    monkeypatch: pytest.MonkeyPatch,
    *,
    by: BaseException | None = None,
    seen_as: type[BaseException] = KeyboardInterrupt,
) -> None:
    """Starts a training and ends it after its second epoch."""

    def log_epoch(context: RunContext, epoch: int, metrics: dict[str, float]) -> None:
        if epoch == 2:
            raise by or KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tracking, "log_epoch", log_epoch)
        with pytest.raises(seen_as):
            train_model.fn(context, data, MODEL, TRAINING)


@pytest.fixture
def interrupted(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> PreparedData:
    """Data on which a training was interrupted after its second epoch."""
    data = prepared(context)
    interrupt(context, data, monkeypatch)
    return data


def test_hand_off_describes_the_stored_network(context: RunContext) -> None:
    data = prepared(context)
    trained = train_model.fn(context, data, MODEL, TRAINING)
    storage = Storage(context.storage_uri)
    network = keras.models.load_model(storage.path(trained.network), safe_mode=True)
    inputs = np.load(storage.path(data.validation.inputs))
    labels = np.load(storage.path(data.validation.labels))
    found = np.mean(network.predict(inputs, verbose=0).argmax(axis=1) == labels)
    assert found == pytest.approx(trained.history["val_accuracy"][trained.best_epoch - 1])
    assert trained.parameters == network.count_params() == 4 * 8 + 8 + 8 * 2 + 2
    assert trained.hardware.precision == "float32"
    assert b"hidden_1" in storage.read_bytes(trained.summary)
    assert unfinished(context) == []


def test_same_seed_gives_the_same_file(context: RunContext) -> None:
    data = prepared(context)
    context = context.model_copy(update={"force": True})  # a stored hand-off would be the same
    exact = TRAINING.model_copy(update={"deterministic": True})
    networks = [train_model.fn(context, data, MODEL, exact).network for _ in range(2)]
    other = exact.model_copy(update={"seed": 4})
    assert networks[0] == networks[1] != train_model.fn(context, data, MODEL, other).network


def test_each_epoch_is_said_and_logged(
    context: RunContext, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="tasks"):
        train_model.fn(context, prepared(context), MODEL, TRAINING)
    said = [record for record in caplog.records if getattr(record, "event", "") == "epoch"]
    assert [record.epoch for record in said] == [1, 2, 3, 4]
    assert {record.epochs for record in said} == {4}
    assert "val_accuracy" in said[0].getMessage()
    assert "val_accuracy" in said[0].metrics
    assert logged_epochs(context, "val_loss") == [1, 2, 3, 4]


def test_interrupted_training_goes_on(context: RunContext, interrupted: PreparedData) -> None:
    assert len(unfinished(context)) == 1
    trained = train_model.fn(context, interrupted, MODEL, TRAINING)
    assert trained.resumed_from == 2
    assert len(trained.history["loss"]) == 4
    assert sorted(logged_epochs(context, "val_loss")) == [1, 2, 3, 4]
    assert unfinished(context) == []


def test_force_trains_anew(context: RunContext, interrupted: PreparedData) -> None:
    forced = context.model_copy(update={"force": True})
    assert train_model.fn(forced, interrupted, MODEL, TRAINING).resumed_from == 0


def test_a_forced_training_that_was_interrupted_goes_on(
    context: RunContext, interrupted: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced = context.model_copy(update={"force": True, "attempt_of": "a"})
    interrupt(forced, interrupted, monkeypatch)
    assert train_model.fn(forced, interrupted, MODEL, TRAINING).resumed_from == 2
    assert unfinished(context) == []


def test_other_settings_do_not_go_on(context: RunContext, interrupted: PreparedData) -> None:
    other = TRAINING.model_copy(update={"epochs": 3})
    assert train_model.fn(context, interrupted, MODEL, other).resumed_from == 0


def test_remote_storage_keeps_the_checkpoint_as_well(
    context: RunContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    remote = context.model_copy(update={"storage_uri": f"memory://{tmp_path.name}"})
    data = prepared(remote)
    interrupt(remote, data, monkeypatch)
    for copy in tmp_path.rglob("*.npz"):  # as if the next try ran on another machine
        copy.unlink()
    assert train_model.fn(remote, data, MODEL, TRAINING).resumed_from == 2
    assert not any("unfinished" in name for name in fsspec.filesystem("memory").store)
    assert not list(tmp_path.rglob("*.npz"))


def test_an_isolated_training_begins_anew_and_leaves_the_interrupted_one_alone(
    context: RunContext, interrupted: PreparedData
) -> None:
    isolated = context.model_copy(update={"isolated": True})
    again = [train_model.fn(isolated, interrupted, MODEL, TRAINING) for _ in range(2)]
    assert [trained.resumed_from for trained in again] == [0, 0]
    assert again[0].network == again[1].network
    assert again[0].seconds != again[1].seconds
    assert train_model.fn(context, interrupted, MODEL, TRAINING).resumed_from == 2


def test_training_survives_a_storage_that_takes_no_checkpoint(
    context: RunContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionError("no answer")

    monkeypatch.setattr(Storage, "publish_named", refuse)
    trained = train_model.fn(context, prepared(context), MODEL, TRAINING)
    assert len(trained.history["loss"]) == 4
    assert "could not be sent" in caplog.text
    assert "no answer" in caplog.text


def test_divergence_says_what_to_change_and_leaves_no_checkpoint(context: RunContext) -> None:
    data = prepared(context, np.tile([0, 1e30], 45).astype(np.float32), classes=0)
    with pytest.raises(TrainingDiverged, match=r"after epoch 1.*training\.learning_rate=0\.001"):
        train_model.fn(context, data, MODEL, TRAINING)
    assert unfinished(context) == []


def test_divergence_forgets_the_epochs_before_it(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = DivergedError("val_loss is nan after epoch 2")
    interrupt(context, prepared(context), monkeypatch, by=late, seen_as=TrainingDiverged)
    assert unfinished(context) == []


def test_network_that_cannot_be_built_leaves_nothing(context: RunContext) -> None:
    with pytest.raises(ConfigError, match="needs images"):
        train_model.fn(context, prepared(context), ModelConfig(architecture="cnn"), TRAINING)
    assert unfinished(context) == []


def test_regression_learns_targets_of_any_unit(context: RunContext) -> None:
    inputs = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    data = prepared(context, 50_000 + 1_000 * inputs[:, 1], classes=0)
    longer = TRAINING.model_copy(update={"epochs": 15, "patience": 0})
    trained = train_model.fn(context, data, MODEL, longer)
    assert min(trained.history["val_mae"]) < 500


def test_constant_targets_are_predicted(context: RunContext) -> None:
    data = prepared(context, np.full(90, 7, dtype=np.float32), classes=0)
    longer = TRAINING.model_copy(update={"epochs": 15})
    assert min(train_model.fn(context, data, MODEL, longer).history["val_mae"]) < 0.2
