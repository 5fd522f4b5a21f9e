"""The trained network judged on the test rows: metrics, baselines and pictures out."""

import json
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.baselines import find_baselines, simplest_of
from tasks.config import EvaluationConfig
from tasks.continuation import Continued, continue_texts
from tasks.handoffs import PreparedData, RunContext, StoredFile
from tasks.illustration import draw_pictures
from tasks.judgement import Evaluation, TrainedModel
from tasks.judging import open_rows, predict
from tasks.metrics import measure
from tasks.models.archive import load_network
from tasks.stages import stage
from tasks.storage import Storage

CPU_TOLERANCE, GPU_TOLERANCE = 1e-4, 2e-3
logger = logging.getLogger(__name__)


def expected_tolerance(trained: TrainedModel) -> float:
    """How much predictions may differ on another machine than the one that evaluated.

    A stored network computes in float32, whatever it was trained in. Of a fraction's 23 bits TF32,
    by which a GPU multiplies float32, keeps 10 (https://docs.nvidia.com/cuda/cuda-c-programming-guide/);
    CPUs differ in the last bits only.
    """
    on_cpu = all(device.startswith("CPU") for device in trained.hardware.devices)
    return CPU_TOLERANCE if on_cpu else GPU_TOLERANCE


@stage(
    code=(
        "tasks.baselines",
        "tasks.canvas",
        "tasks.columns",
        "tasks.continuation",
        "tasks.generation",
        "tasks.illustration",
        "tasks.judging",
        "tasks.metrics",
        "tasks.models.archive",
        "tasks.outputs",
        "tasks.pictures",
        "tasks.sequence_metrics",
        "tasks.snapshots",
        "tasks.texts",
    )
)
def evaluate_model(
    context: RunContext, prepared: PreparedData, trained: TrainedModel, config: EvaluationConfig
) -> Evaluation:
    """Predicts the test rows, and measures the network and the baselines on them."""
    storage, problem = Storage(context.storage_uri), prepared.snapshot.problem
    network = storage.path(trained.network)
    tested, bins = open_rows(storage, prepared, prepared.test), config.calibration_bins
    predictions = predict(load_network(network), tested)
    baselines = find_baselines(config, prepared, storage)
    found = {"": predictions, **baselines}
    figures = {
        name: measure(problem, tested.truth, values, bins, prepared.classes)
        for name, values in found.items()
    }
    metrics, continued = figures.pop(""), Continued()
    if problem == "text_generation" and config.generated_rows:
        is_personal = prepared.snapshot.label.personal
        rows = tested.texts[: config.generated_rows]
        continued = continue_texts(network, rows, tested.fitted, personal=is_personal)
    metrics |= continued.metrics
    drawn = draw_pictures(prepared, trained, tested.inputs, tested.truth, predictions, config)
    rows_tested = len(tested.truth)
    report = {"rows": rows_tested, "metrics": metrics, "baselines": figures}
    return Evaluation(
        rows=rows_tested,
        metrics=metrics,
        baselines=figures,
        predictions=_stored_array(storage, predictions),
        simplest=_stored_array(storage, baselines[simplest_of(figures)]),
        pictures={name: storage.put_bytes(png, ".png") for name, png in drawn.items()},
        tables={
            name: storage.put_bytes(json.dumps(table, indent=2).encode(), ".json")
            for name, table in continued.tables.items()
        },
        report=storage.put_bytes(json.dumps(report, indent=2).encode(), ".json"),
        tolerance=expected_tolerance(trained),
    )


def _stored_array(storage: Storage, array: NDArray[Any]) -> StoredFile:
    with storage.workspace() as folder:
        path = folder / "predictions.npy"
        np.save(path, array, allow_pickle=False)
        return storage.put_file(path)
