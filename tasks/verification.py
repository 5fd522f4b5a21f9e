"""Proof that a fresh process loads the registered version and predicts as training did."""

import logging

import numpy as np
from numpy.typing import NDArray

from tasks import prover
from tasks.errors import ProofFailed
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import Evaluation, Proof, RegisteredModel
from tasks.registry import PROOF, Registry
from tasks.stages import stage
from tasks.storage import Storage

ROWS_AT_MOST = 2_000
logger = logging.getLogger(__name__)


def chosen_rows(count: int) -> NDArray[np.int64]:
    """Places of the rows that are proved, evenly spaced: all of them up to 2,000, int64 [rows]."""
    return np.unique(np.linspace(0, count - 1, min(count, ROWS_AT_MOST)).round().astype(np.int64))


def largest_difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest absolute difference, in units of the largest expected value where that is above 1.

    Args:
        found: Predictions of the fresh process, [rows, classes] or [rows].
        expected: Those of training, of the same shape.
    """
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    difference = np.abs(found.astype(np.float64) - expected).max(initial=0.0)
    return float(difference) / scale


@stage(
    code=("tasks.prover", "tasks.prover_process", "tasks.registry"),
    reuse=False,
)
def verify_model(
    context: RunContext,
    registered: RegisteredModel,
    prepared: PreparedData,
    evaluation: Evaluation,
) -> Proof:
    """Lets a fresh process predict raw test rows, and compares them with training's predictions.

    Raises:
        ProofFailed: It could not load or predict, or its predictions differ.
    """
    storage = Storage(context.storage_uri)
    chosen = chosen_rows(prepared.test.count)
    rows = np.load(storage.path(prepared.test.rows), allow_pickle=False)[chosen]
    expected = np.load(storage.path(evaluation.predictions), allow_pickle=False)[chosen]
    prediction = prover.predict_registered(context, registered.uri, prepared.snapshot, rows)
    names = tuple(f"probability_{label}" for label in prepared.classes) or ("prediction",)
    found = prediction.values if prepared.classes else prediction.values[:, 0]
    if prediction.columns != names or found.shape != expected.shape:
        raise ProofFailed(
            f"{registered.uri} gave {len(found)} rows of {', '.join(prediction.columns[:5])}; "
            f"expected {len(expected)} of {', '.join(names[:5])}. The package does not belong to "
            "these data: run the pipeline again with --force."
        )
    difference = largest_difference(found, expected)
    # not "greater": a comparison with NaN must not pass
    if not difference <= evaluation.tolerance:
        raise ProofFailed(
            f"In a fresh process {registered.uri} predicts other than in training: the largest "
            f"difference is {difference:.3g}, expected {evaluation.tolerance:g} at most. What it "
            "does with raw rows is not what it was trained on; compare tasks/served.py with "
            "tasks/preprocessing.py, then run the pipeline again with --force."
        )
    proof = Proof(
        uri=registered.uri,
        rows=len(rows),
        largest_difference=difference,
        tolerance=evaluation.tolerance,
        load_seconds=prediction.load_seconds,
        predict_seconds=prediction.predict_seconds,
    )
    Registry(context).tag(registered.version, {PROOF: proof.model_dump_json()})
    return proof
