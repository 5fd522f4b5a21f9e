"""A small training in a process of its own, with virtual devices or among other processes.

Its arguments are JSON; what it finds it leaves in a folder.
"""

import json
import os
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ASKED: dict[str, Any] = {
    "backend": "jax",
    "devices": 1,
    "processes": 1,
    "index": 0,
    "coordinator": "",
    "settings": {},
    "kind": "classes",
    "kill_after": 0,
    "pause": 0.0,
    "checkpoint": "",
    "spread": True,
    "also_alone": False,
}


def prepare(asked: dict[str, Any]) -> None:
    """Makes the devices, which has to come before a backend is used."""
    os.environ["KERAS_BACKEND"] = asked["backend"]
    if asked["backend"] == "jax":
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={asked['devices']}"
        return
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * asked["devices"]
    )


def network(kind: str) -> Any:
    """A network of a few weights for a kind of rows."""
    import keras

    layers = keras.layers
    if kind == "tokens":
        return keras.Sequential(
            [
                keras.Input((5,), dtype="int32"),
                layers.Embedding(12, 6),
                layers.Dense(3, activation="softmax"),
            ]
        )
    if kind == "targets":
        return keras.Sequential([keras.Input((4,)), layers.Dense(5, "relu"), layers.Dense(1)])
    hidden = [layers.Dense(8, activation="relu", name="hidden")]
    if kind == "normalised":
        hidden.append(layers.BatchNormalization())
    if kind == "dropout":
        hidden.append(layers.Dropout(0.3))
    backbone = keras.Sequential([keras.Input((4,)), *hidden], name="backbone")
    return keras.Sequential([keras.Input((4,)), backbone, layers.Dense(3, activation="softmax")])


def sides(kind: str) -> Any:
    """61 training and 29 validation rows: numbers that neither 2 nor 4 divide, nor 8."""
    import numpy as np

    generator = np.random.default_rng(0)
    if kind == "tokens":
        inputs = generator.integers(0, 12, (90, 5)).astype(np.int32)
        labels = np.where(generator.random((90, 5)) < 0.4, -1, inputs % 3).astype(np.int32)
    else:
        inputs = generator.normal(size=(90, 4)).astype(np.float32)
        labels = (inputs[:, 0] > 0).astype(np.int32) + (inputs[:, 1] > 0).astype(np.int32)
        if kind == "targets":
            labels = inputs.sum(axis=1)
    return (inputs[:61], labels[:61]), (inputs[61:], labels[61:])


def trained(asked: dict[str, Any], folder: Path) -> None:
    """Trains, and leaves history, weights and, by the first process, the network."""
    import keras
    import numpy as np

    from tasks import fitting

    fitting.join(asked["coordinator"], asked["processes"], asked["index"])
    settings = fitting.FitSettings(
        **{
            "problem": {"tokens": "token_classification", "targets": "regression"}.get(
                asked["kind"], "classification"
            ),
            "epochs": 4,
            "batch_size": 8,
            "learning_rate": 0.01,
            "seed": 3,
            "jit_compile": "auto" if asked["backend"] == "jax" else False,
            **asked["settings"],
        }
    )

    def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
        time.sleep(asked["pause"])
        (folder / f"epoch-{asked['index']}").write_text(str(epoch))
        if epoch == asked["kill_after"]:
            os.kill(os.getpid(), signal.SIGKILL)

    with fitting.spread(settings.batch_size) if asked["spread"] else nullcontext(1) as count:
        keras.utils.set_random_seed(1)
        model = network(asked["kind"])
        checkpoint = fitting.Checkpoint(Path(asked["checkpoint"])) if asked["checkpoint"] else None
        result = fitting.fit(
            model, *sides(asked["kind"]), settings, checkpoint=checkpoint, on_epoch=on_epoch
        )
        np.savez(folder / f"weights-{asked['index']}.npz", *model.get_weights())
        found = {
            "backend": asked["backend"],
            "count": count,
            "history": result.history,
            "best_epoch": result.best_epoch,
            "resumed_from": result.resumed_from,
        }
        # all do so: what reads shared arrays may be something that all processes do together
        model.save(folder / f"network-{asked['index']}.keras")
    (folder / f"found-{asked['index']}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    given = ASKED | json.loads(sys.argv[1])
    prepare(given)
    from tasks.fitting import run_and_leave

    place = Path(sys.argv[2])
    if given["also_alone"]:
        (place / "alone").mkdir()
        trained(given | {"spread": False}, place / "alone")
    run_and_leave(lambda: trained(given, place), ())
