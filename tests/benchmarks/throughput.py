"""One network by our loop and by a plain `model.fit`, in turn, on the rows of a run.

Usage: throughput.py RUN_ID ROUNDS. Prints JSON: training rows per second of each, in the fastest
epoch of a round, the first left out, so that what is compiled once does not count; `{}` for what is
no network.
"""

import itertools
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from tasks import devices, tracking
from tasks.config import PipelineConfig, TrainingConfig
from tasks.fitting import fit
from tasks.handoffs import Arrays, PreparedData
from tasks.models import build_model, is_estimator
from tasks.network_training import fit_settings
from tasks.settings import load_settings
from tasks.storage import Storage

# epochs of some seconds, whatever the network; one row in so many validates. Several, as on a
# virtual machine the kernel may leave a core idle for a whole epoch, of either: 25 rows per second
# or 46 of one network, at the same CPU seconds
SECONDS, EPOCHS, TRIAL_ROWS, SHARE = 4.0, 5, 256, 10
Rows = tuple[np.ndarray, np.ndarray]


class Clock(keras.callbacks.Callback):
    """When each epoch ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.ends.append(time.perf_counter())


class Contest:
    """The same network and rows for both.

    Args:
        prepared: The rows.
        config: The pipeline's configuration.
    """

    def __init__(self, prepared: PreparedData, config: PipelineConfig) -> None:
        self.prepared, self.config = prepared, config
        # all layers train from the first epoch on, in both
        training = config.training.model_copy(
            update={"frozen_epochs": 0, "patience": 0, "epochs": EPOCHS}
        )
        self.settings = fit_settings(prepared, training, devices.find_hardware("float32"))

    def network(self) -> keras.Model:
        keras.utils.set_random_seed(0)
        return build_model(self.config.model, self.prepared)

    def plain(self, train: Rows, validation: Rows) -> float:
        """What a script would do that knows Keras and nothing of ours."""
        model, clock = augmented(self.network(), self.config.training), Clock()
        is_value = self.prepared.snapshot.problem == "regression"
        rate, decay = self.config.training.learning_rate, self.config.training.weight_decay
        model.compile(
            keras.optimizers.AdamW(rate, weight_decay=decay)
            if decay
            else keras.optimizers.Adam(rate),
            "mean_squared_error" if is_value else "sparse_categorical_crossentropy",
            weighted_metrics=[] if is_value else ["accuracy"],
        )
        weights = {}
        if train[1].ndim > 1:  # a label for each token, and -1 for none
            weights = {"sample_weight": (train[1] >= 0).astype(np.float32)}
            validation = (validation[0], np.maximum(validation[1], 0), validation[1] >= 0)
        model.fit(
            train[0], np.maximum(train[1], 0) if train[1].ndim > 1 else train[1],
            validation_data=validation, batch_size=self.config.training.batch_size,
            epochs=EPOCHS, verbose=0, callbacks=[clock], **weights,
        )  # fmt: skip
        return rate_of(clock.ends, len(train[0]))

    def ours(self, train: Rows, validation: Rows) -> float:
        """Our loop, as the training stage calls it."""
        ends: list[float] = []
        settings = replace(self.settings, epochs=EPOCHS)
        fit(
            self.network(), train, validation, settings,
            on_epoch=lambda *_: ends.append(time.perf_counter()),
        )  # fmt: skip
        return rate_of(ends, len(train[0]))


def augmented(network: keras.Model, training: TrainingConfig) -> keras.Model:
    """The network behind Keras's own random layers, where the pipeline has any."""
    layers = keras.layers
    changes = [
        layer
        for layer, is_wanted in (
            (layers.RandomTranslation(training.shift, training.shift), training.shift),
            (layers.RandomRotation(training.rotation / 360), training.rotation),
            (layers.RandomZoom(training.zoom), training.zoom),
        )
        if is_wanted
    ]
    if not changes:
        return network
    (given,) = network.inputs
    return keras.Sequential([keras.Input(given.shape[1:], dtype=given.dtype), *changes, network])


def rate_of(ends: list[float], rows: int) -> float:
    """Rows per second of the fastest epoch, by the ends of all; the first does not count."""
    return rows / min(end - start for start, end in itertools.pairwise(ends))


def sides(storage: Storage, arrays: Arrays, rows: int) -> tuple[Rows, Rows]:
    """The first rows that train, and some more that validate."""
    opened = storage.inputs_and_labels(arrays)
    further = rows + max(rows // SHARE, 1)
    train, validation = ([np.asarray(array[part]) for array in opened]
                         for part in (slice(rows), slice(rows, further)))  # fmt: skip
    return (train[0], train[1]), (validation[0], validation[1])


def main() -> None:
    run_id, rounds = sys.argv[1], int(sys.argv[2])
    settings = load_settings()
    client = tracking.client(settings.mlflow_uri)
    folder = Path(client.download_artifacts(run_id, "handoffs"))
    prepared = PreparedData.model_validate_json((folder / "prepare_data.json").read_text())
    written = client.get_run(run_id).data.tags["roundhouse.configuration"]
    config = PipelineConfig.model_validate_json(written)
    if is_estimator(config.model.architecture):
        print(json.dumps({}))
        return
    storage, contest = Storage(settings.storage_uri), Contest(prepared, config)
    most = prepared.train.count * SHARE // (SHARE + 1)
    trial = contest.plain(*sides(storage, prepared.train, min(TRIAL_ROWS, most)))
    rows = min(most, max(TRIAL_ROWS, int(trial * SECONDS)))
    train, validation = sides(storage, prepared.train, rows)
    found: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(rounds):
        for name, run in (("plain", contest.plain), ("ours", contest.ours)):
            found[name].append(run(train, validation))
    print(json.dumps(found))


main()
