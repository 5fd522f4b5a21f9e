"""A proved version against the gate: verdict out, and the alias moved if it was earned."""

from tasks import gate
from tasks.aliases import Aliases
from tasks.appraisal import Slices
from tasks.challenge import compare, gain_over_baseline
from tasks.config import GateConfig
from tasks.errors import ProofFailed
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import Evaluation, Package, Promotion, Proof, RegisteredModel
from tasks.registry import CHAMPION, Registry
from tasks.rules import Comparison, Costs
from tasks.stages import stage
from tasks.storage import Storage
from tasks.verdicts import Case, carry_out, left_out, stand


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
        "tasks.tallies",
        "tasks.unseen",
        "tasks.verdicts",
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
        case = Case(context, registry, Aliases(registry, hold), version, evaluation, config)
        before = case.aliases.holder(CHAMPION)
        if before == version:
            return stand(case)
        comparison = None
        if taken := case.aliases.withdrawn(version, registered.fingerprint):
            verdict = left_out(registry.name, version, taken)
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
        carry_out(case, before, verdict)
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
