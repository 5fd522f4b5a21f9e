"""The gate's rules about slices and sensitive groups: figures in, rules with their words out."""

from collections.abc import Sequence

from tasks.appraisal import FairnessGap, Slice, Slices
from tasks.config import GateConfig
from tasks.judgement import Rule
from tasks.metrics import HIGHER_IS_BETTER, is_better
from tasks.rules import ComparedSlice, Comparison, figure, gain_in_words

# slices that a sentence names; the table has them all
NAMED = 3
GAPS = {
    "parity_gap": ("demographic_parity", "demographic parity"),
    "odds_gap": ("equalised_odds", "equalised odds"),
}


def slice_rules(
    slices: Slices, comparison: Comparison | None, config: GateConfig
) -> tuple[Rule, ...]:
    """The rules about slices that are configured and can be judged.

    Args:
        slices: The model's figures in each slice, and the gaps.
        comparison: With today's champion; None where there is none.
        config: The rules.
    """
    rules = []
    if config.slice_minimum is not None:
        rules.append(minimum_kept(slices, config, config.slice_minimum))
    compared = comparison is not None and config.compare_with_champion
    # where they could not be compared at all, the rule against the champion says so
    if comparison and compared and not comparison.obstacle and config.slice_loss is not None:
        rules.append(nothing_lost(comparison, config, config.slice_loss))
    for name in GAPS:
        bound = getattr(config, name)
        if bound is not None:
            rules.append(gap_kept(name, slices.gaps, bound))
    return tuple(rules)


def minimum_kept(slices: Slices, config: GateConfig, bound: float) -> Rule:
    """The metric in each slice against the worst value that is accepted.

    As with `gate.minimum`, the figure itself decides; its interval is told.
    """
    metric, many = config.metric, f"{config.slice_rows:,} rows or more"
    judged = [
        part for part in slices.table if part.rows >= config.slice_rows and metric in part.metrics
    ]
    if not judged:
        reason = f"has no slice of {many} to keep the minimum of {figure(bound)} in"
        return Rule(name="slice_minimum", passed=True, value=None, bound=bound, reason=reason)
    worst = sorted(
        judged, key=lambda part: part.metrics[metric], reverse=not HIGHER_IS_BETTER[metric]
    )
    missed = [part for part in worst if is_better(metric, bound, part.metrics[metric])]
    word = "minimum" if HIGHER_IS_BETTER[metric] else "maximum"
    shown = "; ".join(_measured(part, metric, slices.confidence) for part in (missed or worst[:1]))
    reason = (
        f"misses the {word} of {figure(bound)} for slices in {_some(missed, metric, slices)}"
        if missed
        else f"keeps the {word} of {figure(bound)} in each of {len(judged)} slices of {many} "
        f"(the worst: {shown})"
    )
    return Rule(
        name="slice_minimum",
        passed=not missed,
        value=worst[0].metrics[metric],
        bound=bound,
        reason=reason,
    )


def nothing_lost(comparison: Comparison, config: GateConfig, bound: float) -> Rule:
    """No slice may lose more than the bound against the champion, unless chance explains it.

    Two equal models differ by several points on fifty rows, and of many slices some are always
    lost; so a loss that is larger than the bound counts where the whole interval of the difference
    is a loss, at a confidence for all slices together. What is larger and not sure is told.
    """
    many = f"{config.slice_rows:,} rows or more"
    if not comparison.slices:
        reason = f"has no slice of {many} to compare with champion v{comparison.version} in"
        return Rule(name="slice_loss", passed=True, value=None, bound=-bound, reason=reason)
    sign = 1.0 if HIGHER_IS_BETTER[config.metric] else -1.0
    gains = {part: sign * (part.challenger - part.champion) for part in comparison.slices}
    worst = sorted(comparison.slices, key=lambda part: gains[part])
    beyond = [part for part in worst if gains[part] < -bound]
    # of what nobody can tell, chance is no excuse
    lost = [part for part in beyond if part.difference is None or part.difference.high < 0]
    against, count = f"champion v{comparison.version}", len(comparison.slices)
    if lost:
        reason = f"loses more than {figure(bound)} against {against} in {_lost(lost)}"
    elif beyond:
        reason = (
            f"loses nothing for sure against {against} in any of {count} slices of {many}, though "
            f"more than {figure(bound)}, as chance may, in {_lost(beyond)}"
        )
    else:
        reason = (
            f"loses no more than {figure(bound)} against {against} in any of {count} slices of "
            f"{many} (the worst: {worst[0].name}, {gains[worst[0]]:+.4f})"
        )
    least = gains[lost[0] if lost else worst[0]]
    return Rule(name="slice_loss", passed=not lost, value=least, bound=-bound, reason=reason)


def gap_kept(name: str, gaps: Sequence[FairnessGap], bound: float) -> Rule:
    """The largest gap between the groups of any sensitive column; the figure itself decides."""
    field, words = GAPS[name]
    unknown = [f"'{gap.column}' ({gap.reason})" for gap in gaps if getattr(gap, field) is None]
    if unknown:
        reason = (
            f"has no gap of {words} to judge for {', '.join(unknown)}: add rows, or lower "
            "gate.slice_rows"
        )
        return Rule(name=name, passed=False, value=None, bound=bound, reason=reason)
    worst = max(gaps, key=lambda gap: getattr(gap, field))
    value: float = getattr(worst, field)
    passed, ends = value <= bound, worst.intervals.get(field)
    told = f" (interval {ends[0]:.4f} to {ends[1]:.4f})" if ends else ""
    verdict = "no more than" if passed else "more than"
    reason = (
        f"has a gap of {words} of {figure(value)}{told} between the groups of '{worst.column}', "
        f"{verdict} the {figure(bound)} allowed{_partly(name, gaps)}"
    )
    return Rule(name=name, passed=passed, value=value, bound=bound, reason=reason)


def _partly(name: str, gaps: Sequence[FairnessGap]) -> str:
    """Which groups a gap leaves out in part, as a sentence's end."""
    told = [f"'{gap.column}': {gap.reason}" for gap in gaps if gap.reason and name == "odds_gap"]
    return f" ({'; '.join(told)})" if told else ""


def _lost(parts: Sequence[ComparedSlice]) -> str:
    shown = [
        f"{part.name}: {figure(part.challenger)} after {figure(part.champion)} on the same "
        f"{part.rows:,} rows, {_sureness(part)}"
        for part in parts[:NAMED]
    ]
    return _and_more(shown, len(parts))


def _sureness(part: ComparedSlice) -> str:
    if part.difference is None:
        return "too few of a class to tell whether by chance"
    return f"a gain of {gain_in_words(part.difference)}"


def _some(parts: Sequence[Slice], metric: str, slices: Slices) -> str:
    shown = [_measured(part, metric, slices.confidence) for part in parts[:NAMED]]
    return _and_more(shown, len(parts))


def _and_more(shown: Sequence[str], count: int) -> str:
    more = f", and {count - NAMED} more" if count > NAMED else ""
    return ", in ".join(shown) + more


def _measured(part: Slice, metric: str, confidence: float) -> str:
    sure = (
        f", {100 * confidence:.4g} % interval {figure(part.low)} to {figure(part.high)}"
        if part.low is not None and part.high is not None
        else ""
    )
    told = f"{figure(part.metrics[metric])} of {part.rows:,} rows{sure}"
    return f"{part.column} '{part.value}' ({told})"
