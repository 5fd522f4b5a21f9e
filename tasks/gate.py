"""Whether a model has earned the alias: figures in, a verdict with its rules and reasons out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.baselines import simplest_of
from tasks.config import GateConfig
from tasks.errors import ConfigError
from tasks.handoffs import Problem
from tasks.judgement import Rule, Verdict
from tasks.metrics import HIGHER_IS_BETTER, is_better, known_metrics

WHOSE = {
    "majority": "the majority class's",
    "mean": "the mean's",
    "seasonal_naive": "the seasonal naive's",
    "unigram": "the unigram's",
}
REPLACE = "to replace it anyway: --set gate.compare_with_champion=false"


@dataclass(frozen=True)
class Comparison:
    """A model and today's champion on the same rows.

    Args:
        version: The champion's version.
        rows: Rows that neither was trained on.
        challenger: Metrics of the model that is judged.
        champion: Metrics of the champion.
        obstacle: Why they could not be compared, as the end of a sentence; empty if they could.
    """

    version: int
    rows: int = 0
    challenger: Mapping[str, float] = field(default_factory=dict)
    champion: Mapping[str, float] = field(default_factory=dict)
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
        rules.append(_not_worse(comparison, config))
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


def _not_worse(comparison: Comparison, config: GateConfig) -> Rule:
    champion = f"champion v{comparison.version}"
    value = comparison.challenger.get(config.metric)
    theirs = comparison.champion.get(config.metric)
    if comparison.obstacle or value is None or theirs is None:
        cause = comparison.obstacle or f"{config.metric} is undefined on the rows of both"
        reason = f"cannot be compared with {champion}: {cause} ({REPLACE})"
        return Rule(name="not_worse", passed=False, value=value, bound=None, reason=reason)
    higher = HIGHER_IS_BETTER[config.metric]
    bound = theirs - config.margin if higher else theirs + config.margin
    passed = not is_better(config.metric, bound, value)
    margin = f" by more than {config.margin:g}" if config.margin else ""
    verb = "is not worse than" if passed else "is worse than"
    reason = f"{verb} {champion}'s {_figure(theirs)}{margin}"
    if not passed:
        reason = f"{reason} on the same {comparison.rows:,} rows, where it has {_figure(value)}"
    return Rule(name="not_worse", passed=passed, value=value, bound=bound, reason=reason)


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
