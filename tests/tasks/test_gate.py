import numpy as np
import pytest

from tasks.config import GateConfig
from tasks.errors import ConfigError
from tasks.gate import judge
from tasks.judgement import Difference
from tasks.rules import Comparison, Costs, baseline_beaten
from tasks.significance import why_untold

BASELINES = {"majority": {"accuracy": 0.103, "log_loss": 2.3}, "linear": {"accuracy": 0.95}}


def verdict(
    value=0.978, comparison=None, baselines=BASELINES, rows=270, trial=False, gain=None, **config
):
    metric = config.get("metric", "accuracy")
    problem = "regression" if metric == "mae" else "classification"
    figures, rules = {metric: value}, GateConfig(**config)
    return judge(problem, figures, baselines, comparison, rules, rows=rows, trial=trial, gain=gain)


def sure(value, width=0.004, chance=0.001, rows=270):
    """A difference whose interval is of that width on either side."""
    return Difference(
        value=value, low=value - width, high=value + width, confidence=0.95, chance=chance,
        rows=rows,
    )  # fmt: skip


def against(champion, challenger=0.978, width=0.004, chance=0.001, **more):
    figures, difference = {"accuracy": champion}, sure(challenger - champion, width, chance)
    return Comparison(3, 270, {"accuracy": challenger}, figures, difference, **more)


def test_a_better_model_is_promoted_and_the_sentence_says_why():
    found = verdict(comparison=against(0.975), minimum=0.9)
    assert found.promoted
    assert found.reason == (
        "accuracy 0.9780 keeps the minimum of 0.9000 and beats the majority class's 0.1030 and is "
        "not worse than champion v3's 0.9750 by more than 0.0195: 0.9780 on the same 270 rows, "
        "a gain of +0.0030 (95 % interval -0.0010 to +0.0070, p 0.001); promoted"
    )
    assert [rule.name for rule in found.rules] == ["minimum", "beat_baseline", "not_worse"]


def test_only_what_failed_is_told_of_a_lost_gate():
    found = verdict(comparison=against(0.999), margin=0.01)
    assert not found.promoted
    assert found.reason == (
        "accuracy 0.9780 is worse than champion v3's 0.9990 by more than 0.0100: 0.9780 on the "
        "same 270 rows, a gain of -0.0210 (95 % interval -0.0250 to -0.0170, p 0.001); "
        "not promoted"
    )
    assert [rule.passed for rule in found.rules] == [True, False]


def test_equal_is_not_worse_but_does_not_beat():
    assert verdict(comparison=against(0.978)).promoted
    assert not verdict(value=0.103).promoted


def test_a_margin_forgives_that_much():
    assert not verdict(comparison=against(0.98), margin=0).promoted
    found = verdict(comparison=against(0.98), margin=0.01)
    assert found.promoted
    assert found.rules[-1].bound == pytest.approx(0.98 * 0.99)


def test_what_the_rows_cannot_tell_is_said_with_how_many_could():
    found = verdict(comparison=against(0.98, width=0.03), margin=0.01)
    assert not found.promoted
    # 0.0098 may be lost and 0.002 is: the interval of 0.03 must shrink to the 0.0078 between them,
    # for which it takes 270 (0.03 / 0.0078)^2 = 3,994 rows
    assert found.rules[-1].rows_to_decide == 4_000
    assert found.reason == (
        "accuracy 0.9780 may be worse than champion v3's 0.9800 by more than 0.0098: 0.9780 on the "
        "same 270 rows, a gain of -0.0020 (95 % interval -0.0320 to +0.0280, p 0.001); some 4,000 "
        "such rows would tell, or a larger gate.margin; not promoted"
    )


def test_better_must_be_so_for_sure():
    assert verdict(comparison=against(0.97), rule="better").promoted
    found = verdict(comparison=against(0.975), rule="better")
    assert not found.promoted
    assert "is not surely better than champion v3's 0.9750: 0.9780" in found.reason
    assert not verdict(comparison=against(0.97), rule="better", margin=0.01).promoted
    assert "a larger gate.margin" not in found.reason
    worse = verdict(comparison=against(0.99), rule="better")
    assert "is not better than champion v3's" in worse.reason
    assert worse.rules[-1].rows_to_decide is None


def test_an_interval_of_a_few_rows_alone_makes_nobody_better():
    found = verdict(comparison=against(0.97, chance=0.06), rule="better")
    assert not found.promoted
    assert "is not surely better" in found.reason
    assert "p 0.06); some 300 such rows would tell" in found.reason


def test_a_loss_that_the_margin_forgives_is_called_a_loss():
    found = verdict(comparison=against(0.985), margin=0.02)
    assert found.promoted
    assert "is worse than champion v3's 0.9850 by no more than 0.0197: 0.9780" in found.reason


def test_the_minimum_of_an_error_is_a_maximum():
    baselines = {"mean": {"mae": 9.0}}
    assert verdict(value=4.0, metric="mae", minimum=5.0, baselines=baselines).promoted
    lost = verdict(value=6.0, metric="mae", minimum=5.0, baselines=baselines)
    assert lost.reason == "mae 6.0000 misses the maximum of 5.0000; not promoted"


def test_an_error_within_the_margin_is_not_worse():
    comparison = Comparison(3, 9, {"mae": 4.4}, {"mae": 4.0}, sure(-0.4))
    found = verdict(4.4, comparison, metric="mae", beat_baseline=False, margin=0.125)
    assert found.promoted
    assert found.rules[-1].bound == pytest.approx(4.5)
    assert not verdict(4.4, comparison, metric="mae", beat_baseline=False).promoted


def costing(latency_p99_ms=4.0, size_bytes=2_500_000, **budgets):
    config, figures = GateConfig(beat_baseline=False, **budgets), {"accuracy": 0.978}
    costs = Costs(latency_p99_ms, size_bytes)
    return judge("classification", figures, BASELINES, None, config, rows=270, costs=costs)


def test_a_budget_that_is_kept_is_told_with_its_figures():
    found = costing(latency_ms=5, size_mb=2.5)
    assert found.promoted
    assert (
        "takes 4.0 ms for a row, the 99th percentile, within the 5 ms allowed (gate.latency_ms) "
        "and is 2.5 MB large, within the 2.5 MB allowed (gate.size_mb)" in found.reason
    )
    assert [(rule.name, rule.value, rule.bound) for rule in found.rules] == [
        ("latency", 4.0, 5.0), ("size", 2.5, 2.5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"latency_ms": 3.9}, "takes 4.0 ms for a row, the 99th percentile, more than the 3.9 ms"),
        ({"size_mb": 2.4}, "is 2.5 MB large, more than the 2.4 MB allowed"),
        ({"latency_ms": 5, "latency_p99_ms": None}, "was not timed, with the 5 ms allowed"),
        ({"size_mb": 5, "size_bytes": None}, "is of unknown size, with the 5 MB allowed"),
    ],
)
def test_a_model_beyond_its_budget_is_not_promoted(more, told):
    found = costing(**more)
    assert not found.promoted
    assert told in found.reason


def test_rules_that_are_off_do_not_judge():
    found = verdict(0.05, against(0.99), beat_baseline=False, compare_with_champion=False)
    assert found.promoted
    assert found.rules == ()
    assert "not compared with champion v3, as configured" in found.reason


def test_a_metric_that_is_undefined_promotes_nobody():
    config = GateConfig(metric="roc_auc")
    found = judge("classification", {"accuracy": 0.9}, BASELINES, None, config, rows=270)
    assert not found.promoted
    assert "roc_auc is undefined" in found.reason
    unmeasured = Comparison(3, 270, {}, {})
    assert "is undefined on the rows of both" in verdict(comparison=unmeasured).reason
    assert "unknown figure" in verdict(baselines={"majority": {}}).reason


def test_an_unknown_metric_lists_those_of_the_problem():
    with pytest.raises(ConfigError, match=r"gate\.metric is 'acuracy'; expected one of accuracy, "):
        verdict(metric="acuracy")


def test_a_plain_model_that_does_better_is_told_of():
    found = verdict(value=0.94)
    assert found.promoted
    assert "the linear baseline does better with 0.9500; promoted" in found.reason


def test_a_trial_run_is_never_promoted():
    found = verdict(trial=True, beat_baseline=False)
    assert not found.promoted
    assert found.rules[0].name == "trial"
    assert "only some of the rows were used (ingestion.rows; run without it)" in found.reason


def test_too_few_test_rows_judge_nobody():
    found = verdict(rows=29)
    assert not found.promoted
    assert "is measured on 29 test rows, fewer than the 30 expected" in found.reason
    assert "--set gate.minimum_rows=29" in found.reason
    assert verdict(rows=30).promoted
    assert verdict(rows=29, minimum_rows=29).promoted


def test_a_baseline_that_is_beaten_by_luck_is_not_beaten():
    """Also a first model is to be better than no model, not to have been lucky."""
    alone = {"majority": BASELINES["majority"]}
    lucky = verdict(0.12, baselines=alone, gain=sure(0.017, width=0.03, chance=0.3))
    assert not lucky.promoted
    assert lucky.reason == (
        "accuracy 0.1200 does not surely beat the majority class's 0.1030: a gain of +0.0170 "
        "(95 % interval -0.0130 to +0.0470, p 0.3) on 270 rows; some 850 such rows would tell; "
        "not promoted"
    )
    assert lucky.rules[0].rows_to_decide == 850
    assert verdict(0.12, baselines=alone, gain=sure(0.017, width=0.01)).promoted


def test_a_baseline_with_which_nobody_can_compare_is_not_beaten():
    found = verdict(0.131, gain=why_untold("accuracy", np.zeros(270, int)))
    assert not found.promoted
    assert found.reason.startswith(
        "accuracy 0.1310 does not surely beat the majority class's 0.1030: all of the rows are in "
        "one group or day, which tells nothing of others; with gate.clusters=none each row counts"
    )


def test_a_margin_over_a_baseline_below_zero_asks_for_more():
    bad = {"mean": {"r2": -0.01}}
    for value, beats in ((-0.012, False), (-0.008, False), (-0.004, True)):
        rule = baseline_beaten(
            GateConfig(metric="r2", baseline_margin=0.5), value, "mean", bad["mean"], None
        )
        assert rule.passed is beats


def test_a_model_that_predicts_the_same_is_told_to():
    same = Difference(value=0, low=0, high=0, confidence=0.95, chance=1, rows=270)
    figures = {"accuracy": 0.978}
    comparison = Comparison(3, 270, figures, figures, same)
    lost = verdict(comparison=comparison, rule="better")
    assert not lost.promoted
    assert lost.reason == (
        "accuracy 0.9780 is no better than champion v3: both predict the same on all 270 rows; not "
        "promoted"
    )
    assert "and predicts the same as champion v3 on all" in verdict(comparison=comparison).reason


def test_a_margin_over_the_baseline_is_asked_of_the_figure_itself():
    gain = sure(0.4, width=0.1)
    assert verdict(0.5, gain=gain, baseline_margin=0.5).promoted
    lost = verdict(0.15, gain=gain, baseline_margin=0.5)
    assert lost.reason.startswith(
        "accuracy 0.1500 does not beat the majority class's 0.1030 by 50%"
    )
