"""Proof that a fresh process serves the registered version, and predicts as training did."""

import logging

import numpy as np
from numpy.typing import NDArray

from tasks import prover
from tasks.errors import ProofFailed
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import Evaluation, Proof, RegisteredModel
from tasks.outputs import value_columns, widened
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
        found: Predictions of the fresh process, as `tasks.outputs` describes them.
        expected: Those of training, of the same shape.

    Returns:
        The difference; NaN where one of them says nothing and the other does.
    """
    # where both say nothing there is no word, or no next token
    told = ~(np.isnan(found) & np.isnan(expected))
    there, wanted = found[told].astype(np.float64), expected[told]
    scale = max(1.0, float(np.nanmax(np.abs(wanted), initial=0.0)))
    return float(np.abs(there - wanted).max(initial=0.0)) / scale


def in_one_width(
    found: NDArray[np.float32], expected: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both predictions with as many places as the longest row of either has."""
    if found.ndim == 1 or expected.ndim == 1:
        return found, expected
    width = max(found.shape[1], expected.shape[1])
    return widened(found, width), widened(expected, width)


def require_same(
    uri: str,
    way: str,
    found: NDArray[np.float32],
    expected: NDArray[np.float32],
    tolerance: float,
) -> float:
    """Makes sure that predictions are those of training, and tells by how much they differ.

    Args:
        uri: What predicted, by registry address.
        way: How it was asked, as a part of a sentence.
        found: Its predictions, as `tasks.outputs` describes them.
        expected: Those of training for the same rows.
        tolerance: Largest difference allowed.

    Raises:
        ProofFailed: They differ by more.
    """
    if len(found) and len(expected):
        found, expected = in_one_width(found, expected)
    difference = (
        largest_difference(found, expected) if found.shape == expected.shape else float("nan")
    )
    # not "greater": a comparison with NaN must not pass
    if not difference <= tolerance:
        raise ProofFailed(
            f"In a fresh process {uri}, asked {way}, predicts other than in training: the largest "
            f"difference is {difference:.3g}, expected {tolerance:g} at most. What it does with "
            "raw rows is not what it was trained on; compare tasks/served.py with "
            "tasks/preprocessing.py, then run the pipeline again with --force."
        )
    return difference


@stage(
    code=(
        "tasks.broken_rows",
        "tasks.isolation",
        "tasks.outputs",
        "tasks.prover",
        "tasks.prover_process",
        "tasks.proving",
        "tasks.served_rows",
        "tasks.registry",
        "tasks.requirements",
        "tasks.scoring_server",
    ),
    reuse=False,
)
def verify_model(
    context: RunContext,
    registered: RegisteredModel,
    prepared: PreparedData,
    evaluation: Evaluation,
) -> Proof:
    """Lets a fresh process serve raw test rows, and compares what it says with training.

    Raises:
        ProofFailed: It could not load or predict with the version's requirements alone, takes rows
            that it has to refuse, or its predictions differ.
    """
    storage, uri = Storage(context.storage_uri), registered.uri
    chosen = chosen_rows(prepared.test.count)
    rows = storage.array(prepared.test.rows)[chosen]
    expected = storage.array(evaluation.predictions)[chosen]
    found = prover.prove_registered(context, uri, prepared.snapshot, rows)
    prediction = found.prediction
    names = value_columns(prepared.snapshot.problem, prepared.classes)
    if prediction.columns != names or len(prediction.values) != len(expected):
        raise ProofFailed(
            f"{uri} gave {len(prediction.values)} rows of {', '.join(prediction.columns[:5])}; "
            f"expected {len(expected)} of {', '.join(names[:5])}. The package does not belong to "
            "these data: run the pipeline again with --force."
        )
    told = slice(None) if prepared.classes else 0
    differences = [
        require_same(uri, way, values[..., told], wanted, evaluation.tolerance)
        for way, values, wanted in (
            ("in batches", prediction.values, expected),
            ("row by row", found.singly, expected[found.single_rows]),
            ("over HTTP", found.served, expected[: len(found.served)]),
        )
    ]
    proof = Proof(
        uri=uri,
        rows=len(rows),
        largest_difference=max(differences),
        tolerance=evaluation.tolerance,
        **found.figures,
    )
    Registry(context).tag(registered.version, {PROOF: proof.model_dump_json()})
    return proof
