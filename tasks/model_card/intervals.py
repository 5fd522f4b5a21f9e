"""How sure each of the main figures is: the test rows' predictions in, intervals out."""

from collections.abc import Mapping

import numpy as np

from tasks.clusters import cluster_rows
from tasks.handoffs import PreparedData
from tasks.judgement import Evaluation
from tasks.metrics import METRICS
from tasks.resampling import ROWS_AT_MOST, metric_interval
from tasks.storage import Storage

CONFIDENCE = 0.95
# rows times classes times resamples, of a metric: a second or two
WORK = 2e8
FEWEST, MOST = 200, 1_000


def resamples(rows: int, classes: int) -> int:
    """How often is drawn, so that many rows of many classes take seconds and not minutes."""
    return int(np.clip(WORK / (min(rows, ROWS_AT_MOST) * max(classes, 1)), FEWEST, MOST))


def metric_intervals(
    storage: Storage,
    prepared: PreparedData,
    evaluation: Evaluation,
    metrics: tuple[str, ...],
    clusters: str | None,
) -> Mapping[str, tuple[float, float]]:
    """The 95 % interval of each metric on the test rows; one that has none is left out.

    Args:
        storage: Holds the rows and the predictions.
        prepared: Gives the rows.
        evaluation: Gives the predictions.
        metrics: Names; those that are no function of predictions alone are left out.
        clusters: As `gate.clusters`.
    """
    problem = prepared.snapshot.problem
    truth = storage.array(prepared.test.judged_by)
    predictions = storage.array(evaluation.predictions)
    rows = storage.array(prepared.test.rows)
    together = cluster_rows(storage, prepared, rows, clusters)
    width = len(prepared.classes) if problem == "classification" else 1
    found = {
        metric: metric_interval(
            problem, metric, truth, predictions, classes=prepared.classes, confidence=CONFIDENCE,
            clusters=together, resamples=resamples(len(truth), width),
        )
        for metric in metrics
        if metric in METRICS[problem] and metric in evaluation.metrics
    }  # fmt: skip
    return {metric: ends for metric, ends in found.items() if ends}
