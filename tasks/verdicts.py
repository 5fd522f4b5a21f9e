"""What follows from a verdict: the aliases move, the pages say so, and people are told."""

import logging
from dataclasses import dataclass

from tasks import announcements
from tasks.aliases import Aliases
from tasks.cards import judged_card
from tasks.config import GateConfig
from tasks.handoffs import RunContext
from tasks.history import Move, Mover
from tasks.judgement import Evaluation, Promotion, Rule, Verdict
from tasks.lineage import prefect_address, this_user
from tasks.registry import CHALLENGER, CHAMPION, JUDGED_AGAINST, PREVIOUS, VERDICT, Registry

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """A version that is judged, and what is at hand for it.

    Args:
        context: The run that made it.
        registry: Where it is registered.
        aliases: The model's aliases, of which the lock is held.
        version: Its number.
        evaluation: Gives its metrics.
        config: Gives the gate's metric.
    """

    context: RunContext
    registry: Registry
    aliases: Aliases
    version: int
    evaluation: Evaluation
    config: GateConfig


def stand(case: Case) -> Promotion:
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


def left_out(name: str, version: int, taken: Move) -> Verdict:
    """The verdict on what somebody took out of service: only somebody puts it back."""
    whose = "it" if taken.champion_before == version else f"v{taken.champion_before}, its like,"
    reason = (
        f"{whose} was taken out of service ({taken.sentence}), and the gate does not put it back; "
        f'whoever will does it by hand: roundhouse promote {name} {version} --because "..."'
    )
    rule = Rule(name="withdrawn", passed=False, value=None, bound=None, reason=reason)
    return Verdict(promoted=False, rules=(rule,), reason=f"{reason}; not promoted")


def carry_out(case: Case, before: int | None, verdict: Verdict) -> None:
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


def _close(case: Case, before: int | None, verdict: Verdict) -> None:
    """What is left once the aliases have moved: the pages, the message, and that it was judged."""
    logger.info("%s v%d: %s", case.registry.name, case.version, verdict.reason)
    _describe(case, verdict)
    announcements.announce_verdict(
        case.context, case.version, verdict, case.config.metric, case.evaluation.metrics
    )
    case.registry.tag(case.version, {JUDGED_AGAINST: str(before or "")})


def _describe(case: Case, verdict: Verdict) -> None:
    """Puts the verdict on the version's page, and the moves on the model's, where they are not."""
    card = case.registry.version(case.version).description or ""
    judged = judged_card(card, verdict)
    if judged != card:
        case.registry.describe(case.version, judged)
    case.aliases.show()
