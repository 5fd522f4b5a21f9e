"""A proved version against the gate: verdict out, and the alias moved if it was earned."""

import logging
from dataclasses import dataclass

from tasks import announcements, gate
from tasks.aliases import Aliases
from tasks.appraisal import Slices
from tasks.cards import judged_card
from tasks.challenge import compare, gain_over_baseline
from tasks.config import GateConfig
from tasks.errors import ProofFailed
from tasks.handoffs import PreparedData, RunContext
from tasks.history import Move, Mover
from tasks.judgement import Evaluation, Package, Promotion, Proof, RegisteredModel, Rule, Verdict
from tasks.lineage import prefect_address, this_user
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
    gain = gain_over_baseline(Storage(context.storage_uri), prepared, evaluation, config)
    with registry.lock() as hold:
        case = _Case(context, registry, Aliases(registry, hold), version, evaluation, config)
        before = case.aliases.holder(CHAMPION)
        if before == version:
            return _unmoved(case)
        comparison = None
        if taken := case.aliases.withdrawn(version, registered.fingerprint):
            verdict = _left_out(registry.name, version, taken)
        else:
            if before is not None and config.compare_with_champion:
                comparison = compare(
                    context, registry, before, prepared, evaluation, slices, config
                )
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
        _move(case, before, verdict)
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


@dataclass(frozen=True)
class _Case:
    """A version that is judged, and what is at hand for it."""

    context: RunContext
    registry: Registry
    aliases: Aliases
    version: int
    evaluation: Evaluation
    config: GateConfig


def _unmoved(case: _Case) -> Promotion:
    """What is said of a version that is the champion already: the verdict that made it so."""
    tags = case.registry.version(case.version).tags
    verdict = (
        Verdict.model_validate_json(tags[VERDICT])
        if VERDICT in tags
        else Verdict(promoted=True, rules=(), reason="it is the champion already")
    )
    own = [m for m in case.aliases.moves if (m.kind, m.version) == ("gate", case.version)]
    change = own[-1].change(CHAMPION) if own else None
    if change and change.after == case.version and JUDGED_AGAINST not in tags:
        # it broke off once the aliases had moved
        _close(case, change.before, verdict)
    else:
        _describe(case, verdict)
    return Promotion(
        verdict=verdict,
        version=case.version,
        champion_before=case.version,
        champion=case.version,
        champion_metrics={},
        compared_rows=0,
    )


def _left_out(name: str, version: int, taken: Move) -> Verdict:
    """The verdict on what somebody took out of service: only somebody puts it back."""
    whose = "it" if taken.champion_before == version else f"v{taken.champion_before}, its like,"
    reason = (
        f"{whose} was taken out of service ({taken.sentence}), and the gate does not put it back; "
        f'whoever will does it by hand: roundhouse promote {name} {version} --because "..."'
    )
    rule = Rule(name="withdrawn", passed=False, value=None, bound=None, reason=reason)
    return Verdict(promoted=False, rules=(rule,), reason=f"{reason}; not promoted")


def _move(case: _Case, before: int | None, verdict: Verdict) -> None:
    """Writes the verdict down, then moves the aliases.

    Only then is the version said to have been judged: one whose promotion breaks off on the way is
    found not to be, and judged again by the next run.
    """
    version = case.version
    moved: dict[str, int | None] = {CHALLENGER: version}
    if verdict.promoted:
        moved |= {CHAMPION: version} | ({PREVIOUS: before} if before else {})
    case.registry.tag(version, {VERDICT: verdict.model_dump_json()})
    mover = Mover(by=this_user(), run_id=case.context.run_id, page=prefect_address())
    case.aliases.move(moved, kind="gate", version=version, mover=mover, why=verdict.reason)
    _close(case, before, verdict)


def _close(case: _Case, before: int | None, verdict: Verdict) -> None:
    """What is left once the aliases have moved: the pages, the message, and that it was judged."""
    logger.info("%s v%d: %s", case.registry.name, case.version, verdict.reason)
    _describe(case, verdict)
    announcements.announce_verdict(
        case.context, case.version, verdict, case.config.metric, case.evaluation.metrics
    )
    case.registry.tag(case.version, {JUDGED_AGAINST: str(before or "")})


def _describe(case: _Case, verdict: Verdict) -> None:
    """Puts the verdict on the version's page, and the moves on the model's, where they are not."""
    card = case.registry.version(case.version).description or ""
    judged = judged_card(card, verdict)
    if judged != card:
        case.registry.describe(case.version, judged)
    case.aliases.show()
