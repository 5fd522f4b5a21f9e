"""The trained network judged on the test rows: metrics, baselines and pictures out."""

import json
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import pictures
from tasks.baselines import find_baselines
from tasks.config import EvaluationConfig
from tasks.handoffs import Arrays, PreparedData, Problem, RunContext, StoredFile
from tasks.judgement import Evaluation, TrainedModel
from tasks.metrics import measure
from tasks.models.archive import load_network
from tasks.outputs import predictions_of
from tasks.stages import stage
from tasks.storage import Storage

ROWS_AT_ONCE = 512
CPU_TOLERANCE, GPU_TOLERANCE, MIXED_TOLERANCE = 1e-4, 2e-3, 2e-2
logger = logging.getLogger(__name__)


def predict(
    network: Callable[[NDArray[Any]], NDArray[np.float32]], problem: Problem, inputs: NDArray[Any]
) -> NDArray[np.float32]:
    """What a network predicts for rows, in batches.

    Args:
        network: From `tasks.models.archive.load_network`.
        problem: What is predicted.
        inputs: [rows, ...].

    Returns:
        Predictions as `tasks.outputs` describes them.
    """
    batches = np.split(inputs, range(ROWS_AT_ONCE, len(inputs), ROWS_AT_ONCE))
    return np.concatenate([predictions_of(problem, network(np.asarray(rows))) for rows in batches])


def expected_tolerance(trained: TrainedModel) -> float:
    """How much predictions may differ on another machine than the one that evaluated.

    Of a fraction's 23 bits bfloat16 keeps 7, and TF32, by which a GPU multiplies float32, keeps 10
    (https://docs.nvidia.com/cuda/cuda-c-programming-guide/); CPUs differ in the last bits only.
    """
    if trained.hardware.precision != "float32":
        return MIXED_TOLERANCE
    on_cpu = all(device.startswith("CPU") for device in trained.hardware.devices)
    return CPU_TOLERANCE if on_cpu else GPU_TOLERANCE


def draw_pictures(
    prepared: PreparedData,
    trained: TrainedModel,
    inputs: NDArray[Any],
    labels: NDArray[Any],
    predictions: NDArray[np.float32],
    config: EvaluationConfig,
) -> dict[str, bytes]:
    """The pictures that suit the problem, by file name.

    Args:
        prepared: Gives the classes and the kind of data.
        trained: Gives the history.
        inputs: Test rows, [rows, ...].
        labels: Class indices or targets, [rows].
        predictions: Probabilities [rows, classes] or values [rows].
        config: Bins and number of mistakes.
    """
    drawn = {}
    if trained.history:
        drawn["learning_curves.png"] = pictures.learning_curves(trained.history, trained.best_epoch)
    if not prepared.classes:
        drawn["predicted_against_true.png"] = pictures.predicted_against_true(labels, predictions)
        return drawn
    classes, bins = prepared.classes, config.calibration_bins
    drawn |= {
        "confusion_matrix.png": pictures.confusion_matrix(labels, predictions.argmax(1), classes),
        "roc_and_precision_recall.png": pictures.roc_and_precision_recall(
            labels, predictions, classes
        ),
        "calibration.png": pictures.calibration(labels, predictions, bins),
    }
    is_personal = any(column.personal for column in prepared.snapshot.features)
    if prepared.pixel_maximum is not None and config.mistakes and not is_personal:
        drawn["mistakes.png"] = pictures.mistakes(
            inputs, labels, predictions, classes, prepared.pixel_maximum, config.mistakes
        )
    return drawn


@stage(
    code=(
        "tasks.baselines",
        "tasks.metrics",
        "tasks.models.archive",
        "tasks.outputs",
        "tasks.pictures",
        "tasks.snapshots",
    )
)
def evaluate_model(
    context: RunContext, prepared: PreparedData, trained: TrainedModel, config: EvaluationConfig
) -> Evaluation:
    """Predicts the test rows, and measures the network and the baselines on them."""
    storage, problem = Storage(context.storage_uri), prepared.snapshot.problem
    network = load_network(storage.path(trained.network))
    inputs, labels = _open(storage, prepared.test)
    predictions = predict(network, problem, inputs)
    plain = find_baselines(config, prepared, storage)
    bins = config.calibration_bins
    metrics = measure(problem, labels, predictions, bins)
    baselines = {name: measure(problem, labels, found, bins) for name, found in plain.items()}
    drawn = draw_pictures(prepared, trained, inputs, labels, predictions, config)
    report = {"rows": len(labels), "metrics": metrics, "baselines": baselines}
    return Evaluation(
        rows=len(labels),
        metrics=metrics,
        baselines=baselines,
        predictions=_stored_array(storage, predictions),
        pictures={name: storage.put_bytes(png, ".png") for name, png in drawn.items()},
        report=storage.put_bytes(json.dumps(report, indent=2).encode(), ".json"),
        tolerance=expected_tolerance(trained),
    )


def _open(storage: Storage, side: Arrays) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs and labels of a side; the inputs stay on the disk until they are used."""
    inputs = np.load(storage.path(side.inputs), mmap_mode="r", allow_pickle=False)
    return inputs, np.load(storage.path(side.labels), allow_pickle=False)


def _stored_array(storage: Storage, array: NDArray[Any]) -> StoredFile:
    with storage.workspace() as folder:
        path = folder / "predictions.npy"
        np.save(path, array, allow_pickle=False)
        return storage.put_file(path)
