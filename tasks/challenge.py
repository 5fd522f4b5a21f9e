"""The model that is judged and today's champion, measured on the rows that neither trained on."""

import json
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import prover
from tasks.appraisal import Slices
from tasks.clusters import cluster_rows
from tasks.config import GateConfig
from tasks.errors import ConfigError, DataError, ProofFailed
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import Difference, Evaluation
from tasks.metrics import measure
from tasks.registry import SPLIT, Registry
from tasks.rules import Comparison
from tasks.sequence_metrics import comparable_rows
from tasks.significance import paired_difference, why_untold
from tasks.slice_comparison import Compared, compare_slices
from tasks.snapshots import read_snapshot
from tasks.storage import Storage
from tasks.unseen import described_columns, rows_tested

logger = logging.getLogger(__name__)


def rows_unseen(
    storage: Storage, prepared: PreparedData, rows: NDArray[np.int64], split: dict[str, Any]
) -> NDArray[np.bool_]:
    """Which of today's test rows a model with another split would have tested on as well.

    Args:
        storage: Holds the snapshot.
        prepared: Gives the snapshot and today's split.
        rows: Row numbers of the test rows, [rows].
        split: The other model's, as `tasks.unseen.describe_split` gives it.

    Raises:
        ConfigError, DataError: Its split cannot be made from today's columns.
    """
    # it says also by which code and columns, so equal ones put every row on the same side
    if split == prepared.split:
        return np.ones(len(rows), np.bool_)
    snapshot = prepared.snapshot
    columns = described_columns(split, snapshot.columns, snapshot.privacy_key)
    table = read_snapshot(storage, snapshot, [column.name for column in columns])
    unseen: NDArray[np.bool_] = rows_tested(table.take(rows), columns, split)
    return unseen


def aligned(
    values: NDArray[np.float32], columns: tuple[str, ...], classes: tuple[str, ...]
) -> NDArray[np.float32]:
    """A champion's predictions in today's order of classes; one it does not know gets 0.

    Args:
        values: [rows, columns], or for problems of sequences [rows, places, columns].
        columns: `probability_<label>` each, or `prediction` or `log_probabilities` alone.
        classes: Today's labels; empty for regression and text generation.

    Returns:
        Predictions as `tasks.outputs` describes them.
    """
    if not classes:
        return values[..., 0]
    place = {name.removeprefix("probability_"): number for number, name in enumerate(columns)}
    # nothing stays nothing: beyond the last word of a text there is none to be unsure of
    unknown = np.where(np.isnan(values[..., 0]), np.float32(np.nan), np.float32(0))
    ordered = np.repeat(unknown[..., None], len(classes), axis=-1)
    for number, label in enumerate(classes):
        if label in place:
            ordered[..., number] = values[..., place[label]]
    return ordered


def compare(
    context: RunContext,
    registry: Registry,
    champion: int,
    prepared: PreparedData,
    evaluation: Evaluation,
    slices: Slices,
    config: GateConfig,
) -> Comparison:
    """Measures the model and today's champion on the test rows that neither was trained on.

    Args:
        context: The run.
        registry: Where the champion is.
        champion: Its version.
        prepared: Gives the test rows.
        evaluation: Gives the model's predictions for them.
        slices: Of the test rows.
        config: Gives the metric, how sure its difference is to be, and the fewest rows.
    """
    storage = Storage(context.storage_uri)
    classes = prepared.classes
    rows = storage.array(prepared.test.rows)
    truth = storage.array(prepared.test.judged_by)
    ours = storage.array(evaluation.predictions)
    try:
        written = registry.version(champion).tags.get(SPLIT)
        if written is None:
            return Comparison(champion, obstacle="it does not say what it was trained on")
        unseen = rows_unseen(storage, prepared, rows, json.loads(written))
        if not unseen.any():
            return Comparison(champion, obstacle="it was trained on all of these test rows")
        if unseen.sum() < config.minimum_rows:
            obstacle = (
                f"it was not trained on {unseen.sum():,} of these {len(rows):,} test rows, fewer "
                f"than the {config.minimum_rows:,} expected (gate.minimum_rows)"
            )
            return Comparison(champion, obstacle=obstacle)
        found = prover.predict_registered(
            context, registry.address(champion), prepared.snapshot, rows[unseen]
        )
    except (ConfigError, DataError, ProofFailed, ValueError) as error:
        logger.warning("Champion v%d cannot be compared with: %s", champion, error)
        return Comparison(champion, obstacle=str(error).rstrip("."))
    members = (
        storage.array(slices.membership)[unseen]
        if slices.membership and config.slice_loss is not None
        else None
    )
    compared = Compared(
        prepared.snapshot.problem,
        truth[unseen],
        ours[unseen],
        aligned(found.values, found.columns, classes),
        classes,
        cluster_rows(storage, prepared, rows[unseen], config.clusters),
    )
    return _measured(champion, compared, slices, members, config)


def gain_over_baseline(
    storage: Storage, prepared: PreparedData, evaluation: Evaluation, config: GateConfig
) -> Difference | str | None:
    """By how much the model is better than the simplest baseline on the test rows.

    Args:
        storage: Where the predictions are.
        prepared: Gives the test rows.
        evaluation: Gives the predictions of both.
        config: Gives the metric, and how sure its difference is to be.

    Returns:
        With an interval whose lower end alone is as sure as is asked for, since nobody asks whether
        it is worse than no model. None where the baseline's predictions were not kept; a text where
        they cannot tell, which says why.
    """
    if evaluation.simplest is None:
        return None
    rows = storage.array(prepared.test.rows)
    clusters = cluster_rows(storage, prepared, rows, config.clusters)
    found = paired_difference(
        prepared.snapshot.problem,
        config.metric,
        storage.array(prepared.test.judged_by),
        storage.array(evaluation.predictions),
        storage.array(evaluation.simplest),
        classes=prepared.classes,
        confidence=2 * config.confidence - 1,
        clusters=clusters,
    )
    return why_untold(config.metric, clusters) if found is None else found


def _measured(
    champion: int,
    compared: Compared,
    slices: Slices,
    members: NDArray[np.int32] | None,
    config: GateConfig,
) -> Comparison:
    """The figures of both on the same rows."""
    problem, classes = compared.problem, compared.classes
    if problem == "text_generation":
        same = comparable_rows(compared.ours, compared.theirs)
        if same.sum() < config.minimum_rows:
            obstacle = (
                f"it cuts texts into other tokens, and only {same.sum():,} of these {len(same):,} "
                f"test texts are short enough for both; expected {config.minimum_rows:,} "
                "(gate.minimum_rows)"
            )
            return Comparison(champion, obstacle=obstacle)
        compared = compared.some(same)
        members = None if members is None else members[same]
    truth, ours, theirs = compared.truth, compared.ours, compared.theirs
    difference = paired_difference(
        problem, config.metric, truth, ours, theirs, classes=classes,
        confidence=config.confidence, clusters=compared.clusters,
    )  # fmt: skip
    return Comparison(
        champion,
        rows=len(truth),
        challenger=measure(problem, truth, ours, classes=classes),
        champion=measure(problem, truth, theirs, classes=classes),
        difference=difference,
        obstacle="" if difference else why_untold(config.metric, compared.clusters),
        slices=() if members is None else compare_slices(slices, members, compared, config),
    )
