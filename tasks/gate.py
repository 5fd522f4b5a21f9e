"""Whether a model has earned the alias: figures in, a verdict with its rules and reasons out."""

from collections.abc import Mapping

from tasks.appraisal import Slices
from tasks.baselines import simplest_of
from tasks.config import GateConfig
from tasks.errors import ConfigError
from tasks.handoffs import Problem
from tasks.judgement import Difference, Rule, Verdict
from tasks.metrics import is_better, known_metrics
from tasks.rules import (
    UNKNOWN_COSTS,
    Comparison,
    Costs,
    against_champion,
    baseline_beaten,
    bound_kept,
    budget_rules,
    figure,
    too_few,
    trial_run,
)
from tasks.slice_rules import slice_rules

NO_SLICES = Slices()


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
    gain: Difference | str | None = None,
    slices: Slices = NO_SLICES,
    costs: Costs = UNKNOWN_COSTS,
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
        gain: Over the simplest baseline, with how sure that is; a text if nobody can tell, and why;
            None if only figures are known.
        slices: The model's figures in each slice of the test rows.
        costs: What it takes to serve the model; not needed without a budget.

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
        rules.append(trial_run(rows))
    if rows < config.minimum_rows:
        rules.append(too_few(rows, config.minimum_rows))
    if config.minimum is not None:
        rules.append(bound_kept(config.metric, value, config.minimum))
    simplest = simplest_of(baselines)
    if config.beat_baseline:
        rules.append(baseline_beaten(config, value, simplest, baselines[simplest], gain))
    if comparison is not None and config.compare_with_champion:
        rules.append(against_champion(comparison, config))
    rules += slice_rules(slices, comparison, config)
    rules += budget_rules(costs, config)
    plain = {name: figures for name, figures in baselines.items() if name != simplest}
    return _verdict(config, value, tuple(rules), comparison, plain)


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
    parts = [f"{config.metric} {figure(value)} {' and '.join(told)}".rstrip()]
    if promoted and comparison is None:
        parts.append("there is no champion yet")
    elif comparison is not None and not config.compare_with_champion:
        parts.append(f"not compared with champion v{comparison.version}, as configured")
    # no rule of the gate, but whoever answers for the model should know
    parts += [
        f"the {name.replace('_', ' ')} baseline does better with {figure(bound)}"
        for name, metrics in plain.items()
        if (bound := metrics.get(config.metric)) is not None
        and is_better(config.metric, bound, value)
    ]
    parts.append("promoted" if promoted else "not promoted")
    return Verdict(promoted=promoted, rules=rules, reason="; ".join(parts))
