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
    # how one of the processes ends, and in which epoch
    "ending": "",
    "ends_after": 2,
    "pause": 0.0,
    # a path; {index} in it is the process's
    "checkpoint": "",
    # of tasks.fitting.processes
    "constants": {},
    "spread": True,
    "also_alone": False,
    # others to be done in turn in place of one, what they ask by the name of their folder
    "each": {},
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
    if kind == "sequences":
        hidden = [layers.Embedding(12, 6), layers.LSTM(5, dropout=0.2)]
        return keras.Sequential([keras.Input((5,)), *hidden, layers.Dense(3, "softmax")])
    if kind == "images":
        hidden = [layers.Conv2D(3, 3, activation="relu"), layers.GlobalAveragePooling2D()]
        return keras.Sequential([keras.Input((8, 8, 1)), *hidden, layers.Dense(3, "softmax")])
    hidden = [layers.Dense(8, activation="relu", name="hidden")]
    if kind == "normalised":
        hidden.append(layers.BatchNormalization())
    if kind == "dropout":
        hidden.append(layers.Dropout(0.3))
    backbone = keras.Sequential([keras.Input((4,)), *hidden], name="backbone")
    return keras.Sequential([keras.Input((4,)), backbone, layers.Dense(3, activation="softmax")])


def sides(kind: str) -> Any:
    """61 training rows, and of validation 29, or where it is in two batches 1055.

    Numbers that neither 2 nor 4 divide, nor 8.
    """
    import numpy as np

    generator = np.random.default_rng(0)
    rows = 1116 if kind == "two_batches" else 90
    if kind == "tokens":
        inputs = generator.integers(0, 12, (90, 5)).astype(np.int32)
        labels = np.where(generator.random((90, 5)) < 0.4, -1, inputs % 3).astype(np.int32)
    elif kind == "sequences":
        inputs = generator.integers(0, 12, (90, 5)).astype(np.float32)
        labels = (inputs[:, 0] % 3).astype(np.int32)
    elif kind == "images":
        inputs = generator.normal(size=(90, 8, 8, 1)).astype(np.float32)
        labels = (inputs[:, :4].mean((1, 2, 3)) > 0).astype(np.int32)
    else:
        inputs = generator.normal(size=(rows, 4)).astype(np.float32)
        labels = (inputs[:, 0] > 0).astype(np.int32) + (inputs[:, 1] > 0).astype(np.int32)
        if kind == "targets":
            labels = inputs.sum(axis=1)
    return (inputs[:61], labels[:61]), (inputs[61:], labels[61:])


def ends(asked: dict[str, Any], moment: str, epoch: int) -> bool:
    """Ends or stops this process, if now is when it is to; whether it is to fail by itself."""
    if asked["ending"] != moment or epoch != asked["ends_after"]:
        return False
    if moment in {"fails storing", "half stored"}:
        return True
    os.kill(os.getpid(), signal.SIGSTOP if moment == "stops" else signal.SIGKILL)
    return False


def checkpoint_of(asked: dict[str, Any]) -> Any:
    """The checkpoint of the training; this process may end as it stores it."""
    import numpy as np

    from tasks import fitting

    class Ending(fitting.Checkpoint):
        def save(self, variables: Any, progress: Any) -> None:
            ends(asked, "before storing", progress.epochs)
            if ends(asked, "fails storing", progress.epochs):
                raise OSError(28, "No space left on device")
            if ends(asked, "half stored", progress.epochs):
                np.savez = half_stored
            super().save(variables, progress)

    def half_stored(stream: Any, **arrays: Any) -> None:
        stream.write(bytes(100))
        stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    path = asked["checkpoint"].format(index=asked["index"])
    return Ending(Path(path)) if path else None


def trained(asked: dict[str, Any], folder: Path) -> None:
    """Trains, and leaves history, weights and, by the first process, the network."""
    import keras
    import numpy as np

    from tasks import fitting

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
        ends(asked, "is killed", epoch)
        ends(asked, "stops", epoch)

    with fitting.spread(settings.batch_size) if asked["spread"] else nullcontext(1) as count:
        keras.utils.set_random_seed(1)
        model = network(asked["kind"])
        result = fitting.fit(
            model,
            *sides(asked["kind"]),
            settings,
            checkpoint=checkpoint_of(asked),
            on_epoch=on_epoch,
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


def work(asked: dict[str, Any], place: Path) -> None:
    """Joins the others, if there are any, and trains."""
    from tasks import fitting
    from tasks.fitting import processes

    for name, value in asked["constants"].items():
        setattr(processes, name, value)
    fitting.join(asked["coordinator"], asked["processes"], asked["index"])
    for name, changes in (asked["each"] or {"": {}}).items():
        (place / name).mkdir(exist_ok=True)
        trained(asked | changes, place / name)


if __name__ == "__main__":
    given = ASKED | json.loads(sys.argv[1])
    prepare(given)
    from tasks.fitting import DivergedError, run_and_leave

    folder = Path(sys.argv[2])
    if given["also_alone"]:
        (folder / "alone").mkdir()
        trained(given | {"spread": False}, folder / "alone")
    run_and_leave(lambda: work(given, folder), (DivergedError,))
