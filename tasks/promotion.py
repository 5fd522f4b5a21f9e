"""A proved version against the gate: verdict out, and the alias moved if it was earned."""

import logging

from tasks import announcements, gate
from tasks.appraisal import Slices
from tasks.cards import judged_card
from tasks.challenge import compare, gain_over_baseline
from tasks.config import GateConfig
from tasks.errors import ProofFailed, ServiceError
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import Evaluation, Package, Promotion, Proof, RegisteredModel, Verdict
from tasks.registry import (
    CHALLENGER,
    CHAMPION,
    JUDGED_AGAINST,
    PREVIOUS,
    VERDICT,
    Registry,
)
from tasks.rules import Comparison, Costs
from tasks.stages import stage
from tasks.storage import Storage

logger = logging.getLogger(__name__)


@stage(
    code=(
        "tasks.baselines",
        "tasks.challenge",
        "tasks.clusters",
        "tasks.columns",
        "tasks.gate",
        "tasks.identities",
        "tasks.metrics",
        "tasks.outputs",
        "tasks.prover",
        "tasks.registry",
        "tasks.resampling",
        "tasks.rescoring",
        "tasks.rules",
        "tasks.sequence_metrics",
        "tasks.significance",
        "tasks.slice_comparison",
        "tasks.slice_rules",
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
    package: Package,
    slices: Slices,
    config: GateConfig,
) -> Promotion:
    """Judges a proved version, and makes it the champion if it has earned it.

    Raises:
        ConfigError: The gate's metric is not one of the problem's.
        ProofFailed: The proof is of another version; no alias moves then.
        ServiceError: The champion changed while this version was judged.
    """
    require_proof(registered, proof)
    registry, version = Registry(context), registered.version
    problem = prepared.snapshot.problem
    gate.require_known(config.metric, problem)
    storage = Storage(context.storage_uri)
    gain = gain_over_baseline(storage, prepared, evaluation, config)
    with registry.lock():
        registry.move(CHALLENGER, version)
        before = registry.holder(CHAMPION)
        if before == version:
            return _unmoved(registry, version)
        comparison = None
        if before is not None and config.compare_with_champion:
            comparison = compare(context, registry, before, prepared, evaluation, slices, config)
        elif before is not None:
            comparison = Comparison(before)
        verdict = gate.judge(
            problem,
            evaluation.metrics,
            evaluation.baselines,
            comparison,
            config,
            rows=evaluation.rows,
            trial=prepared.snapshot.trial,
            gain=gain,
            slices=slices,
            costs=Costs(proof.latency_p99_ms, package.size),
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


def require_proof(registered: RegisteredModel, proof: Proof) -> None:
    """Makes sure that a proof is of the version whose aliases are to move.

    Raises:
        ProofFailed: It is of another.
    """
    if proof.uri != registered.uri:
        raise ProofFailed(
            f"{registered.uri} came with the proof of {proof.uri}; expected one of its own, as no "
            "alias moves without. Verify this version: verify_model gives its proof."
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
