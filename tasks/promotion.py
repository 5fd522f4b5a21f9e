"""A proved version against the gate: verdict out, and the alias moved if it was earned."""

import json
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import announcements, gate, prover
from tasks.cards import judged_card
from tasks.config import GateConfig
from tasks.errors import ConfigError, DataError, ProofFailed, ServiceError
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import Evaluation, Promotion, Proof, RegisteredModel, Verdict
from tasks.metrics import measure
from tasks.registry import (
    CHALLENGER,
    CHAMPION,
    JUDGED_AGAINST,
    PREVIOUS,
    SPLIT,
    VERDICT,
    Registry,
)
from tasks.sequence_metrics import comparable_rows
from tasks.significance import paired_difference
from tasks.snapshots import read_snapshot
from tasks.stages import stage
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
    columns = described_columns(split, prepared.snapshot.columns)
    table = read_snapshot(storage, prepared.snapshot, [column.name for column in columns])
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
    config: GateConfig,
) -> gate.Comparison:
    """Measures the model and today's champion on the test rows that neither was trained on.

    Args:
        context: The run.
        registry: Where the champion is.
        champion: Its version.
        prepared: Gives the test rows.
        evaluation: Gives the model's predictions for them.
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
            return gate.Comparison(champion, obstacle="it does not say what it was trained on")
        unseen = rows_unseen(storage, prepared, rows, json.loads(written))
        if not unseen.any():
            return gate.Comparison(champion, obstacle="it was trained on all of these test rows")
        if unseen.sum() < config.minimum_rows:
            obstacle = (
                f"it was not trained on {unseen.sum():,} of these {len(rows):,} test rows, fewer "
                f"than the {config.minimum_rows:,} expected (gate.minimum_rows)"
            )
            return gate.Comparison(champion, obstacle=obstacle)
        found = prover.predict_registered(
            context, registry.address(champion), prepared.snapshot, rows[unseen]
        )
    except (ConfigError, DataError, ProofFailed, ValueError) as error:
        logger.warning("Champion v%d cannot be compared with: %s", champion, error)
        return gate.Comparison(champion, obstacle=str(error).rstrip("."))
    theirs = aligned(found.values, found.columns, classes)
    return _measured(champion, prepared, truth[unseen], ours[unseen], theirs, config)


def _measured(
    champion: int,
    prepared: PreparedData,
    truth: NDArray[Any],
    ours: NDArray[np.float32],
    theirs: NDArray[np.float32],
    config: GateConfig,
) -> gate.Comparison:
    """The figures of both on the same rows."""
    problem, classes = prepared.snapshot.problem, prepared.classes
    if problem == "text_generation":
        same = comparable_rows(ours, theirs)
        if same.sum() < config.minimum_rows:
            obstacle = (
                f"it cuts texts into other tokens, and only {same.sum():,} of these {len(same):,} "
                f"test texts are short enough for both; expected {config.minimum_rows:,} "
                "(gate.minimum_rows)"
            )
            return gate.Comparison(champion, obstacle=obstacle)
        truth, ours, theirs = truth[same], ours[same], theirs[same]
    return gate.Comparison(
        champion,
        rows=len(truth),
        challenger=measure(problem, truth, ours, classes=classes),
        champion=measure(problem, truth, theirs, classes=classes),
        difference=paired_difference(
            problem,
            config.metric,
            truth,
            ours,
            theirs,
            classes=classes,
            confidence=config.confidence,
        ),
    )


@stage(
    code=(
        "tasks.baselines",
        "tasks.columns",
        "tasks.gate",
        "tasks.identities",
        "tasks.metrics",
        "tasks.outputs",
        "tasks.prover",
        "tasks.registry",
        "tasks.rescoring",
        "tasks.sequence_metrics",
        "tasks.significance",
        "tasks.snapshots",
        "tasks.splitting",
        "tasks.unseen",
    ),
    reuse=False,
)
def promote_model(
    context: RunContext,
    registered: RegisteredModel,
    proof: Proof,
    prepared: PreparedData,
    evaluation: Evaluation,
    config: GateConfig,
) -> Promotion:
    """Judges a proved version, and makes it the champion if it has earned it.

    Raises:
        ConfigError: The gate's metric is not one of the problem's.
        ServiceError: The champion changed while this version was judged.
    """
    registry, version = Registry(context), registered.version
    problem = prepared.snapshot.problem
    gate.require_known(config.metric, problem)
    with registry.lock():
        registry.move(CHALLENGER, version)
        before = registry.holder(CHAMPION)
        if before == version:
            return _unmoved(registry, version)
        comparison = None
        if before is not None and config.compare_with_champion:
            comparison = compare(context, registry, before, prepared, evaluation, config)
        elif before is not None:
            comparison = gate.Comparison(before)
        verdict = gate.judge(
            problem,
            evaluation.metrics,
            evaluation.baselines,
            comparison,
            config,
            rows=evaluation.rows,
            trial=prepared.snapshot.trial,
        )
        _move(registry, version, before, verdict)
    logger.info("%s v%d: %s", registry.name, version, verdict.reason)
    announcements.announce_verdict(context, version, verdict, config.metric, evaluation.metrics)
    return Promotion(
        verdict=verdict,
        version=version,
        champion_before=before,
        champion=version if verdict.promoted else before,
        champion_metrics=dict(comparison.champion) if comparison else {},
        compared_rows=comparison.rows if comparison else 0,
    )


def _unmoved(registry: Registry, version: int) -> Promotion:
    """What is said of a version that is the champion already: the verdict that made it so."""
    written = registry.version(version).tags.get(VERDICT)
    verdict = (
        Verdict.model_validate_json(written)
        if written
        else Verdict(promoted=True, rules=(), reason="it is the champion already")
    )
    _describe(registry, version, verdict)
    return Promotion(
        verdict=verdict,
        version=version,
        champion_before=version,
        champion=version,
        champion_metrics={},
        compared_rows=0,
    )


def _move(registry: Registry, version: int, before: int | None, verdict: Verdict) -> None:
    """Writes the verdict down, then moves the aliases: the champion's last, which decides.

    Only then is the version said to have been judged: one whose promotion breaks off on the way is
    found not to be, and judged again by the next run.
    """
    now = registry.holder(CHAMPION)
    if now != before:
        raise ServiceError(
            f"While v{version} was judged against champion v{before}, the champion became v{now}; "
            "expected it to stay. It is judged again; if that fails too, run again."
        )
    registry.tag(version, {VERDICT: verdict.model_dump_json()})
    if verdict.promoted:
        if before is not None:
            registry.move(PREVIOUS, before)
        registry.move(CHAMPION, version)
    _describe(registry, version, verdict)
    registry.tag(version, {JUDGED_AGAINST: str(before or "")})


def _describe(registry: Registry, version: int, verdict: Verdict) -> None:
    """Puts the verdict on the version's page, where it is not there already."""
    card = registry.version(version).description or ""
    judged = judged_card(card, verdict)
    if judged != card:
        registry.describe(version, judged)
