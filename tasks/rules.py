"""The rules of the gate: what was measured and what was asked for in, a rule with its words out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tasks.config import GateConfig
from tasks.judgement import Difference, Rule, Verdict
from tasks.metrics import HIGHER_IS_BETTER, is_better
from tasks.significance import rows_to_decide, why_untold

WHOSE = {
    "majority": "the majority class's",
    "mean": "the mean's",
    "seasonal_naive": "the seasonal naive's",
    "unigram": "the unigram's",
}
Outcome = Literal["held", "open", "lost"]
# the default margins, as shares of the champion's figure
MARGINS = {"not_worse": 0.02, "better": 0.0}
# what is told of each rule where it held, where the rows cannot tell, and where it did not hold
VERBS: Mapping[str, Mapping[str, str]] = {
    "not_worse": {
        "held": "is not worse than", "open": "may be worse than", "lost": "is worse than",
    },
    "better": {
        "held": "is better than", "open": "is not surely better than", "lost": "is not better than",
    },
}  # fmt: skip
REPLACE = "to replace it anyway: --set gate.compare_with_champion=false"


@dataclass(frozen=True)
class ComparedSlice:
    """A model and today's champion on the same rows of one slice.

    Args:
        column: The column that is sliced.
        value: The slice's value or range.
        rows: Rows that neither was trained on.
        challenger: The gate's metric of the model that is judged.
        champion: That of the champion.
        difference: Positive where the model that is judged is better; None where it loses no more
            than is allowed, or too few rows tell.
    """

    column: str
    value: str
    rows: int
    challenger: float
    champion: float
    difference: Difference | None = None

    @property
    def name(self) -> str:
        """Column and value, as in a sentence."""
        return f"{self.column} '{self.value}'"


@dataclass(frozen=True)
class Comparison:
    """A model and today's champion on the same rows.

    Args:
        version: The champion's version.
        rows: Rows that neither was trained on.
        challenger: Metrics of the model that is judged.
        champion: Metrics of the champion.
        difference: Of the gate's metric, positive where the model that is judged is better.
        obstacle: Why they could not be compared, as the end of a sentence; empty if they could.
        slices: The slices of these rows that have enough of them, where a rule is about them.
    """

    version: int
    rows: int = 0
    challenger: Mapping[str, float] = field(default_factory=dict)
    champion: Mapping[str, float] = field(default_factory=dict)
    difference: Difference | None = None
    obstacle: str = ""
    slices: tuple[ComparedSlice, ...] = ()


@dataclass(frozen=True)
class Costs:
    """What it takes to serve a model.

    Args:
        latency_p99_ms: Milliseconds for a single row in the proof, the 99th percentile.
        size_bytes: Of the package.
    """

    latency_p99_ms: float | None = None
    size_bytes: int | None = None


UNKNOWN_COSTS = Costs()


def trial_run(rows: int) -> Rule:
    """A model of a trial run never serves."""
    reason = (
        "comes from a trial run: only some of the rows were used (ingestion.rows; run without it)"
    )
    return Rule(name="trial", passed=False, value=rows, bound=None, reason=reason)


def too_few(rows: int, bound: int) -> Rule:
    """Fewer test rows than are asked for."""
    reason = (
        f"is measured on {rows:,} test rows, fewer than the {bound:,} expected (add rows, raise "
        f"split.test, or accept them: --set gate.minimum_rows={rows})"
    )
    return Rule(name="minimum_rows", passed=False, value=rows, bound=bound, reason=reason)


def bound_kept(metric: str, value: float, bound: float) -> Rule:
    """The metric against the worst value that is accepted."""
    passed = not is_better(metric, bound, value)
    word = "minimum" if HIGHER_IS_BETTER[metric] else "maximum"
    return Rule(
        name="minimum",
        passed=passed,
        value=value,
        bound=bound,
        reason=f"{'keeps' if passed else 'misses'} the {word} of {figure(bound)}",
    )


def budget_rules(costs: Costs, config: GateConfig) -> list[Rule]:
    """The budgets that are configured: for a single row's time, and for the package's size."""
    rules = []
    if config.latency_ms is not None:
        rules.append(latency_kept(costs.latency_p99_ms, config.latency_ms))
    if config.size_mb is not None:
        rules.append(size_kept(costs.size_bytes, config.size_mb))
    return rules


def latency_kept(value: float | None, bound: float) -> Rule:
    """The 99th percentile of the proof's single rows against the milliseconds that are allowed."""
    passed = value is not None and value <= bound
    allowed = f"the {bound:g} ms allowed (gate.latency_ms)"
    reason = f"was not timed, with {allowed}"
    if value is not None:
        found = f"takes {value:.1f} ms for a row, the 99th percentile"
        reason = f"{found}, {'within' if passed else 'more than'} {allowed}"
    return Rule(name="latency", passed=passed, value=value, bound=bound, reason=reason)


def size_kept(size_bytes: int | None, bound: float) -> Rule:
    """The package's size against the megabytes, of a million bytes each, that are allowed."""
    value = None if size_bytes is None else size_bytes / 1e6
    passed = value is not None and value <= bound
    allowed = f"the {bound:g} MB allowed (gate.size_mb)"
    reason = f"is of unknown size, with {allowed}"
    if value is not None:
        reason = f"is {value:.1f} MB large, {'within' if passed else 'more than'} {allowed}"
    return Rule(name="size", passed=passed, value=value, bound=bound, reason=reason)


def baseline_beaten(
    config: GateConfig,
    value: float,
    name: str,
    baseline: Mapping[str, float],
    gain: Difference | str | None,
) -> Rule:
    """The metric is beyond a baseline's by the margin, and better than it not by chance alone.

    Args:
        config: Gives the metric and the margin.
        value: The model's figure.
        name: The baseline's.
        baseline: Its figures.
        gain: Over it, with how sure that is; a text says why nobody can tell; None where only the
            figures are known.
    """
    theirs, margin = baseline.get(config.metric), config.baseline_margin
    sign = 1 if HIGHER_IS_BETTER[config.metric] else -1
    # of a figure below 0 as well, a margin asks for more
    bound = None if theirs is None else theirs + sign * abs(theirs) * margin
    beyond = bound is not None and is_better(config.metric, value, bound)
    untold, gain = (gain, None) if isinstance(gain, str) else ("", gain)
    sure = not untold and (gain is None or gain.low > 0)
    by = f" by {margin:.0%}" if margin else ""
    verb = "beats" if beyond and sure else "does not surely beat" if beyond else "does not beat"
    whose = f"{WHOSE[name]} {'unknown figure' if theirs is None else figure(theirs)}{by}"
    needed = rows_to_decide(gain, 0.0) if gain and beyond and not sure else None
    return Rule(
        name="beat_baseline",
        passed=beyond and sure,
        value=value,
        bound=bound,
        reason=f"{verb} {whose}{_unsure(gain, needed, untold) if beyond and not sure else ''}",
        difference=gain,
        rows_to_decide=needed,
    )


def _unsure(gain: Difference | None, needed: int | None, untold: str) -> str:
    if gain is None:
        return f": {untold}"
    return f": a gain of {gain_in_words(gain)} on {rows_in_words(gain)}; {_what_would_tell(needed)}"


def _what_would_tell(rows: int | None) -> str:
    return f"some {rows:,} such rows would tell" if rows else "more such rows may tell"


def against_champion(comparison: Comparison, config: GateConfig) -> Rule:
    """The whole interval of the difference must be on the right side of the margin."""
    champion, name = f"champion v{comparison.version}", config.rule
    value = comparison.challenger.get(config.metric)
    theirs = comparison.champion.get(config.metric)
    difference = comparison.difference
    if comparison.obstacle or value is None or theirs is None or difference is None:
        cause = comparison.obstacle or why_untold(config.metric, None)
        reason = f"cannot be compared with {champion}: {cause} ({REPLACE})"
        return Rule(name=name, passed=False, value=value, bound=None, reason=reason)
    share = MARGINS[name] if config.margin is None else config.margin
    least = abs(theirs) * share * (1 if name == "better" else -1)
    passed = difference.low > least if name == "better" else difference.low >= least
    if name == "better" and not least:
        # where few rows differ, the interval alone would be too sure
        passed = passed and difference.chance < 1 - config.confidence
    outcome: Outcome = "held" if passed else "open" if difference.high >= least else "lost"
    needed = rows_to_decide(difference, least) if outcome == "open" else None
    higher = HIGHER_IS_BETTER[config.metric]
    return Rule(
        name=name,
        passed=passed,
        value=value,
        bound=theirs + least if higher else theirs - least,
        reason=_in_words(comparison, difference, config, abs(least), outcome, needed),
        difference=difference,
        rows_to_decide=needed,
    )


def _in_words(
    comparison: Comparison,
    difference: Difference,
    config: GateConfig,
    margin: float,
    outcome: Outcome,
    needed: int | None,
) -> str:
    """The rule as a part of a sentence: what it found, by which figures, and what would decide."""
    if difference.low == difference.high == 0:
        return (
            f"is no better than champion v{comparison.version}: both predict the same on all "
            f"{rows_in_words(difference)}"
            if outcome != "held"
            else f"predicts the same as champion v{comparison.version} on all "
            f"{rows_in_words(difference)}"
        )
    verb, by = VERBS[config.rule][outcome], f" by more than {figure(margin)}" if margin else ""
    if outcome == "held" and difference.high < 0:
        verb, by = "is worse than", f" by no more than {figure(margin)}"
    value, theirs = comparison.challenger[config.metric], comparison.champion[config.metric]
    found = (
        f"{verb} champion v{comparison.version}'s {figure(theirs)}{by}: {figure(value)} on the "
        f"same {rows_in_words(difference)}, a gain of {gain_in_words(difference)}"
    )
    if outcome != "open":
        return found
    many = _what_would_tell(needed)
    # of the other rule a larger margin asks for more
    return f"{found}; {many}{', or a larger gate.margin' * (config.rule == 'not_worse')}"


def rows_in_words(difference: Difference) -> str:
    """How many rows were compared, and in how many clusters they are."""
    clusters = f" in {difference.clusters:,} clusters" if difference.clusters else ""
    return f"{difference.rows:,} rows{clusters}"


def sentence_of(verdict: Verdict) -> str:
    """Why a verdict is as it is, as a sentence that does not say the outcome again."""
    word = "promoted" if verdict.promoted else "not promoted"
    return f"{verdict.reason.removesuffix(f'; {word}')}."


def gain_in_words(difference: Difference) -> str:
    """A difference with its interval, and how likely chance alone makes so large a one."""
    value, low, high = (
        f"{number:+.4f}" if abs(number) < 100 else f"{number:+,.1f}"  # noqa: PLR2004  # width only
        for number in (difference.value, difference.low, difference.high)
    )
    sure = f"{100 * difference.confidence:.4g} % interval {low} to {high}"
    return f"{value} ({sure}, p {difference.chance:.2g})"


def figure(value: float) -> str:
    """A figure as sentences show it."""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"  # noqa: PLR2004  # width only
