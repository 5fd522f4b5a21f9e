"""Conv 32, batch 32, one epoch: our training loop against plain `model.fit`, in turn.

Usage: mnist_fit.py ROUNDS. Prints JSON: training rows per second of each, and their accuracy.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from tasks import devices
from tasks.config import ModelConfig
from tasks.datasets import get_dataset
from tasks.errors import RoundhouseError
from tasks.fitting import FitSettings, fit
from tasks.models.cnn import build
from tasks.models.ends import Ends
from tasks.settings import load_settings
from tasks.snapshots import images
from tasks.sources import find_source

ROWS, VALIDATION = 30_000, 5_000
MODEL = ModelConfig(architecture="cnn", filters=(32,), hidden_units=(), dropout=0)


def data() -> tuple[np.ndarray, np.ndarray]:
    settings, dataset = load_settings(), get_dataset("mnist")
    source = find_source(
        "mnist",
        data_dir=settings.data_dir,
        downloads=settings.downloads_folder,
        timeout_seconds=settings.timeout_seconds,
    )
    table = dataset.read({file.name: Path(file.path) for file in source.files})
    return images(table, dataset.columns[0]), np.asarray(table["digit"]).astype(np.int32)


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build(Ends(input_shape=(28, 28, 1), pixel_maximum=255, classes=10), MODEL)


def plain(train, validation) -> tuple[float, float]:
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    started = time.perf_counter()
    history = model.fit(*train, validation_data=validation, batch_size=32, epochs=1, verbose=0)
    return ROWS / (time.perf_counter() - started), history.history["val_accuracy"][-1]


def ours(train, validation) -> tuple[float, float]:
    hardware = devices.find_hardware("float32")
    settings = FitSettings(
        problem="classification",
        epochs=1,
        batch_size=32,
        steps_per_execution=devices.steps_per_execution(ROWS, 32),
        jit_compile=devices.jit_compile(hardware),
    )
    model = network()
    started = time.perf_counter()
    result = fit(model, train, validation, settings)
    return ROWS / (time.perf_counter() - started), result.history["val_accuracy"][-1]


def main() -> None:
    try:
        pixels, labels = data()
    except RoundhouseError as error:
        print(json.dumps({"skipped": str(error)}))
        return
    train = pixels[:ROWS], labels[:ROWS]
    validation = pixels[-VALIDATION:], labels[-VALIDATION:]
    found = {"plain": [], "ours": []}
    accuracy = {}
    for _ in range(int(sys.argv[1])):
        for name, run in (("plain", plain), ("ours", ours)):
            speed, accuracy[name] = run(train, validation)
            found[name].append(speed)
    print(json.dumps({**found, "accuracy": accuracy}))


main()
