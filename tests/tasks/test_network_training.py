import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.utils.class_weight import compute_class_weight

from tasks.config import ModelConfig, TrainingConfig
from tasks.devices import find_hardware
from tasks.errors import ConfigError
from tasks.handoffs import Arrays, PreparedData, RunContext, Snapshot, StoredFile
from tasks.judgement import TrainedModel
from tasks.models.archive import load_network
from tasks.network_training import class_weights, fit_settings, require_meaning
from tasks.storage import Storage
from tasks.training import train_model

NETWORK = ModelConfig(
    architecture="cnn", filters=(4, 8), convolutions=2, batch_normalization=True, hidden_units=()
)
TRAINING = TrainingConfig(
    epochs=3, batch_size=16, learning_rate=0.01, schedule="one_cycle", weight_decay=0.01,
    shift=0.1, rotation=10, zoom=0.1,
)  # fmt: skip


def stored(storage: Storage, array: np.ndarray) -> StoredFile:
    with storage.workspace() as folder:
        np.save(folder / "array.npy", array)
        return storage.put_file(folder / "array.npy")


def squares(context: RunContext, **changes: Any) -> PreparedData:
    """96 small images with a bright square, on the left or on the right."""
    storage, random = Storage(context.storage_uri), np.random.default_rng(0)
    images = random.integers(0, 60, (96, 12, 12, 1)).astype(np.uint8)
    labels = np.arange(96, dtype=np.int32) % 2
    for image, label in zip(images, labels, strict=True):
        image[3:9, 1 + 6 * label : 5 + 6 * label] = 250
    sides = [
        Arrays(
            inputs=stored(storage, images[part]),
            labels=stored(storage, labels[part]),
            rows=stored(storage, np.arange(96)[part]),
            count=len(labels[part]),
            label_counts=tuple(np.bincount(labels[part]).tolist()),
        )
        for part in (slice(0, 64), slice(64, 80), slice(80, 96))
    ]
    nothing = storage.put_bytes(b"{}")
    snapshot = Snapshot(
        dataset="squares", problem="classification", file=nothing, rows=96, columns=(),
        source_digest="",
    )  # fmt: skip
    prepared = PreparedData(
        snapshot=snapshot, split={}, train=sides[0], validation=sides[1], test=sides[2],
        preprocessing=nothing, classes=("left", "right"), input_shape=(12, 12, 1), kind="image",
        pixel_maximum=255,
    )  # fmt: skip
    return prepared.model_copy(update=changes)


def test_every_setting_of_the_loop_reaches_it(context: RunContext) -> None:
    settings = asdict(fit_settings(squares(context), TRAINING, find_hardware("float32")))
    ours = TRAINING.model_dump(exclude={"class_weights", "precision", "deterministic"})
    assert settings | ours == settings


@pytest.mark.parametrize(
    ("changes", "training", "said"),
    [
        ({}, {"loss": "absolute_error"}, "training.loss is 'absolute_error'.*regression only"),
        ({"kind": "table"}, {"zoom": 0.1}, "training.zoom is 0.1.*images only.*'table'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    context: RunContext, changes: dict[str, Any], training: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=rf"{said}.*Leave training\.\w+ out"):
        require_meaning(squares(context, **changes), TrainingConfig(**training))


def test_a_class_index_cannot_be_smoothed() -> None:
    assert TrainingConfig(labels="one_hot", label_smoothing=0.1).label_smoothing == 0.1
    with pytest.raises(ValidationError, match=r"expected 'one_hot'.*--set training\.labels"):
        TrainingConfig(label_smoothing=0.1)


def test_phases_of_a_network_without_a_backbone_are_refused(context: RunContext) -> None:
    frozen = TrainingConfig(epochs=2, frozen_epochs=1)
    with pytest.raises(ConfigError, match=r"training\.frozen_epochs.*no layer named 'backbone'"):
        train_model.fn(context, squares(context), NETWORK, frozen)


def test_balanced_class_weights_are_those_of_scikit_learn() -> None:
    labels = np.repeat([0, 1, 2], [70, 20, 10])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert class_weights("balanced", (70, 20, 10)) == pytest.approx(tuple(expected))
    assert class_weights("balanced", (5, 0)) == (0.5, 1.0)
    assert class_weights("none", (70, 20, 10)) is None
    assert class_weights("balanced", ()) is None


def on_jax(script: str, *arguments: str) -> None:
    """Runs a program with Keras on JAX, of which a process has only one backend."""
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_jax_trains_in_mixed_precision_is_served_by_tensorflow_in_float32(
    tmp_path: Path,
) -> None:
    script = """
import sys
sys.modules["tensorflow"] = None  # JAX alone is enough to train
import numpy as np
from pathlib import Path
from tasks.config import ModelConfig
from tasks.devices import precision_policy, repeatable
from tasks.fitting import FitSettings, fit
from tasks.models import MODELS
from tasks.models.archive import load_network, save_network
from tasks.models.ends import Ends
rows = np.random.default_rng(0).normal(size=(256, 4)).astype(np.float32)
labels = (rows[:, 0] > 0).astype(np.int32)
with repeatable(1, deterministic=False), precision_policy("mixed_bfloat16"):
    network = MODELS["mlp"](Ends((4,), classes=2), ModelConfig(hidden_units=(8,)))
settings = FitSettings("classification", 3, learning_rate=0.05, jit_compile="auto")
result = fit(network, (rows, labels), (rows, labels), settings)
assert max(result.history["val_accuracy"]) > 0.8, result
folder = Path(sys.argv[1])
save_network(network, folder / "network.keras")
np.savez(folder / "found.npz", rows=rows, loaded=load_network(folder / "network.keras")(rows),
         trained=network(rows))
"""
    on_jax(script, str(tmp_path))
    with np.load(tmp_path / "found.npz") as found:
        predictions = load_network(tmp_path / "network.keras")(found["rows"])
        assert predictions == pytest.approx(found["loaded"], abs=1e-6)
        assert predictions == pytest.approx(found["trained"], abs=2e-2)
    assert b"bfloat16" not in (tmp_path / "network.keras").read_bytes()


@pytest.mark.slow
def test_a_network_that_jax_trained_predicts_the_same_on_tensorflow(
    context: RunContext, tmp_path: Path
) -> None:
    """The same code trains on either backend, and what it stores belongs to none."""
    script = """
import sys
import numpy as np
from pathlib import Path
from tasks.config import ModelConfig, TrainingConfig
from tasks.handoffs import PreparedData, RunContext
from tasks.models.archive import load_network
from tasks.storage import Storage
from tasks.training import train_model
parts = (RunContext, PreparedData, ModelConfig, TrainingConfig)
given = [part.model_validate_json(text) for part, text in zip(parts, sys.argv[2:])]
trained = train_model.fn(*given)
storage = Storage(given[0].storage_uri)
inputs = np.load(storage.path(given[1].test.inputs))
folder = Path(sys.argv[1])
np.save(folder / "predictions.npy", load_network(storage.path(trained.network))(inputs))
(folder / "trained.json").write_text(trained.model_dump_json())
"""
    data = squares(context)
    given = [part.model_dump_json() for part in (context, data, NETWORK, TRAINING)]
    on_jax(script, str(tmp_path), *given)
    trained = TrainedModel.model_validate_json((tmp_path / "trained.json").read_text())
    assert trained.hardware.backend == "jax"
    assert max(trained.history["val_accuracy"]) > 0.9
    storage = Storage(context.storage_uri)
    inputs = np.load(storage.path(data.test.inputs))
    predictions = load_network(storage.path(trained.network))(inputs)
    assert predictions == pytest.approx(np.load(tmp_path / "predictions.npy"), abs=1e-5)
