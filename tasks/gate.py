"""Whether a model has earned the alias: figures in, a verdict with its rules and reasons out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tasks.baselines import simplest_of
from tasks.config import GateConfig
from tasks.errors import ConfigError
from tasks.handoffs import Problem
from tasks.judgement import Difference, Rule, Verdict
from tasks.metrics import HIGHER_IS_BETTER, is_better, known_metrics
from tasks.significance import rows_to_decide

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
class Comparison:
    """A model and today's champion on the same rows.

    Args:
        version: The champion's version.
        rows: Rows that neither was trained on.
        challenger: Metrics of the model that is judged.
        champion: Metrics of the champion.
        difference: Of the gate's metric, positive where the model that is judged is better.
        obstacle: Why they could not be compared, as the end of a sentence; empty if they could.
    """

    version: int
    rows: int = 0
    challenger: Mapping[str, float] = field(default_factory=dict)
    champion: Mapping[str, float] = field(default_factory=dict)
    difference: Difference | None = None
    obstacle: str = ""


def require_known(metric: str, problem: Problem) -> None:
    """Makes sure that the gate's metric is one of the problem's.

    Raises:
        ConfigError: It is not.
    """
    if metric not in known_metrics(problem):
        raise ConfigError(
            f"gate.metric is {metric!r}; expected one of {', '.join(known_metrics(problem))} for "
            f"{problem}. Choose one: --set gate.metric={known_metrics(problem)[0]}."
        )


def judge(
    problem: Problem,
    metrics: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    comparison: Comparison | None,
    config: GateConfig,
    *,
    rows: int,
    trial: bool = False,
) -> Verdict:
    """Judges a model by all rules that apply; it is promoted if every one of them holds.

    Args:
        problem: What is predicted.
        metrics: The model's metrics on all test rows.
        baselines: Per baseline, the same metrics.
        comparison: With today's champion; None where there is none.
        config: The rules.
        rows: Number of test rows.
        trial: Only some of the rows were used, so the model is not for service.

    Raises:
        ConfigError: The metric is not one of the problem's.
    """
    require_known(config.metric, problem)
    value = metrics.get(config.metric)
    if value is None:
        reason = f"{config.metric} is undefined here, since a class has no test rows"
        rule = Rule(name="metric", passed=False, value=None, bound=None, reason=reason)
        return Verdict(promoted=False, rules=(rule,), reason=f"{reason}; not promoted")
    rules = []
    if trial:
        rules.append(_trial(rows))
    if rows < config.minimum_rows:
        rules.append(_too_few(rows, config.minimum_rows))
    if config.minimum is not None:
        rules.append(_minimum(config.metric, value, config.minimum))
    simplest = simplest_of(baselines)
    if config.beat_baseline:
        rules.append(_beats(config, value, simplest, baselines[simplest]))
    if comparison is not None and config.compare_with_champion:
        rules.append(_against_champion(comparison, config))
    plain = {name: figures for name, figures in baselines.items() if name != simplest}
    return _verdict(config, value, tuple(rules), comparison, plain)


def _trial(rows: int) -> Rule:
    reason = (
        "comes from a trial run: only some of the rows were used (ingestion.rows; run without it)"
    )
    return Rule(name="trial", passed=False, value=rows, bound=None, reason=reason)


def _too_few(rows: int, bound: int) -> Rule:
    reason = (
        f"is measured on {rows:,} test rows, fewer than the {bound:,} expected (add rows, raise "
        f"split.test, or accept them: --set gate.minimum_rows={rows})"
    )
    return Rule(name="minimum_rows", passed=False, value=rows, bound=bound, reason=reason)


def _minimum(metric: str, value: float, bound: float) -> Rule:
    passed = not is_better(metric, bound, value)
    word = "minimum" if HIGHER_IS_BETTER[metric] else "maximum"
    return Rule(
        name="minimum",
        passed=passed,
        value=value,
        bound=bound,
        reason=f"{'keeps' if passed else 'misses'} the {word} of {_figure(bound)}",
    )


def _beats(config: GateConfig, value: float, name: str, baseline: Mapping[str, float]) -> Rule:
    theirs, margin = baseline.get(config.metric), config.baseline_margin
    share = 1 + margin if HIGHER_IS_BETTER[config.metric] else 1 - margin
    bound = None if theirs is None else theirs * share
    passed = bound is not None and is_better(config.metric, value, bound)
    by = f" by {margin:.0%}" if margin else ""
    return Rule(
        name="beat_baseline",
        passed=passed,
        value=value,
        bound=bound,
        reason=f"{'beats' if passed else 'does not beat'} {WHOSE[name]} "
        f"{'unknown figure' if theirs is None else _figure(theirs)}{by}",
    )


def _against_champion(comparison: Comparison, config: GateConfig) -> Rule:
    """The whole interval of the difference must be on the right side of the margin."""
    champion, name = f"champion v{comparison.version}", config.rule
    value = comparison.challenger.get(config.metric)
    theirs = comparison.champion.get(config.metric)
    difference = comparison.difference
    if comparison.obstacle or value is None or theirs is None or difference is None:
        cause = (
            comparison.obstacle
            or f"{config.metric} is undefined on the rows of both, or they are too few"
        )
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
    verb, by = VERBS[config.rule][outcome], f" by more than {_figure(margin)}" if margin else ""
    if outcome == "held" and difference.high < 0:
        verb, by = "is worse than", f" by no more than {_figure(margin)}"
    value, theirs = comparison.challenger[config.metric], comparison.champion[config.metric]
    found = (
        f"{verb} champion v{comparison.version}'s {_figure(theirs)}{by}: {_figure(value)} on the "
        f"same {comparison.rows:,} rows, a gain of {gain_in_words(difference)}"
    )
    if outcome != "open":
        return found
    many = f"some {needed:,} such rows would tell" if needed else "more such rows may tell"
    # of the other rule a larger margin asks for more
    return f"{found}; {many}{', or a larger gate.margin' * (config.rule == 'not_worse')}"


def gain_in_words(difference: Difference) -> str:
    """A difference with its interval, and how likely chance alone makes so large a one."""
    value, low, high = (
        f"{number:+.4f}" if abs(number) < 100 else f"{number:+,.1f}"  # noqa: PLR2004  # width only
        for number in (difference.value, difference.low, difference.high)
    )
    sure = f"{100 * difference.confidence:.4g} % interval {low} to {high}"
    return f"{value} ({sure}, p {difference.chance:.2g})"


def _verdict(
    config: GateConfig,
    value: float,
    rules: tuple[Rule, ...],
    comparison: Comparison | None,
    plain: Mapping[str, Mapping[str, float]],
) -> Verdict:
    promoted = all(rule.passed for rule in rules)
    # what held is of no interest where something did not
    told = [rule.reason for rule in rules if rule.passed == promoted]
    parts = [f"{config.metric} {_figure(value)} {' and '.join(told)}".rstrip()]
    if promoted and comparison is None:
        parts.append("there is no champion yet")
    elif comparison is not None and not config.compare_with_champion:
        parts.append(f"not compared with champion v{comparison.version}, as configured")
    # no rule of the gate, but whoever answers for the model should know
    parts += [
        f"the {name.replace('_', ' ')} baseline does better with {_figure(bound)}"
        for name, metrics in plain.items()
        if (bound := metrics.get(config.metric)) is not None
        and is_better(config.metric, bound, value)
    ]
    parts.append("promoted" if promoted else "not promoted")
    return Verdict(promoted=promoted, rules=rules, reason="; ".join(parts))


def _figure(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"  # noqa: PLR2004  # width only
