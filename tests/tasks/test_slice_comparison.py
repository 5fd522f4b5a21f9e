"""The rules about slices: what two models say of made rows in, a verdict out."""

import numpy as np
import pytest

from tasks.appraisal import FairnessGap, Slice, Slices
from tasks.config import GateConfig
from tasks.gate import judge
from tasks.metrics import measure
from tasks.rules import ComparedSlice, Comparison
from tasks.slice_comparison import Compared, compare_slices
from tasks.slice_rules import gap_kept, nothing_lost

ROWS, GROUPS = 1000, 5


def certain(given):
    return (0.1 + 0.8 * np.eye(2)[given]).astype(np.float32)


def as_wrong(random, labels, share):
    return np.where(random.random(len(labels)) < share, 1 - labels, labels)


def sliced(codes, names):
    parts = [
        Slice(column="area", value=name, rows=int(np.sum(codes == n)), metrics={})
        for n, name in enumerate(names)
    ]
    return Slices(metric="accuracy", table=tuple(parts), columns=("area",))


def verdict(labels, ours, theirs, codes, clusters=None, **gate):
    config = GateConfig(beat_baseline=False, margin=0.9, **{"slice_loss": 0.02, **gate})
    slices = sliced(codes, [f"area {n}" for n in range(codes.max() + 1)])
    compared = Compared("classification", labels, ours, theirs, (), clusters)
    figures = [measure("classification", labels, found) for found in (ours, theirs)]
    comparison = Comparison(
        3, len(labels), *figures, slices=compare_slices(slices, codes[:, None], compared, config)
    )
    rules = judge(
        "classification", figures[0], {"majority": {}}, comparison, config, rows=len(labels),
        slices=slices,
    ).rules  # fmt: skip
    return next(rule for rule in rules if rule.name == "slice_loss"), comparison


def made(seed=0, rows=ROWS, groups=GROUPS):
    random = np.random.default_rng(seed)
    return random, random.integers(0, 2, rows), random.integers(0, groups, rows)


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "f1"])
def test_a_slice_that_is_lost_is_refused_by_name_and_figures(metric):
    random, labels, codes = made()
    theirs = as_wrong(random, labels, 0.1)
    ours = np.where((codes == 2) & (random.random(ROWS) < 0.4), 1 - theirs, theirs)
    rule, comparison = verdict(labels, certain(ours), certain(theirs), codes, metric=metric)
    assert not rule.passed
    lost = comparison.slices[2]
    assert rule.value == pytest.approx(lost.challenger - lost.champion)
    assert rule.reason.startswith(
        f"loses more than 0.0200 against champion v3 in area 'area 2': {lost.challenger:.4f} after "
        f"{lost.champion:.4f} on the same {lost.rows} rows, a gain of {rule.value:+.4f} (99 % inte"
    )
    assert "area 1" not in rule.reason


def test_a_model_that_loses_nowhere_is_accepted_with_its_worst_slice():
    random, labels, codes = made()
    theirs = as_wrong(random, labels, 0.3)
    rule, _ = verdict(labels, certain(labels), certain(theirs), codes)
    assert rule.passed
    assert "loses no more than 0.0200 against champion v3 in any of 5 slices" in rule.reason
    assert "(the worst: area 'area " in rule.reason


def test_equal_models_are_refused_no_more_often_than_the_confidence_says():
    """By the figures alone nearly all would be: of twenty small slices some is always lost."""
    refused = beyond = 0
    for seed in range(100):
        random, labels, codes = made(seed, groups=20, rows=1500)
        ours, theirs = (certain(as_wrong(random, labels, 0.15)) for _ in range(2))
        rule, comparison = verdict(labels, ours, theirs, codes)
        refused += not rule.passed
        beyond += any(part.challenger < part.champion - 0.02 for part in comparison.slices)
    assert beyond > 95
    assert refused <= 5


def test_what_chance_may_have_done_is_told():
    random, labels, codes = made(groups=20, rows=1500)
    ours, theirs = (certain(as_wrong(random, labels, 0.15)) for _ in range(2))
    rule, _ = verdict(labels, ours, theirs, codes)
    assert rule.passed
    assert "loses nothing for sure against champion v3 in any of 20 slices" in rule.reason
    assert "though more than 0.0200, as chance may, in area 'area " in rule.reason


def test_slices_with_few_rows_are_not_judged():
    _, labels, codes = made()
    codes[:40] = GROUPS
    ours = np.where(codes == GROUPS, 1 - labels, labels)
    rule, comparison = verdict(labels, certain(ours), certain(labels), codes)
    assert rule.passed
    assert len(comparison.slices) == GROUPS
    few, _ = verdict(labels, certain(ours), certain(labels), codes, slice_rows=2000)
    assert few.passed
    assert "has no slice of 2,000 rows or more to compare with champion v3" in few.reason
    assert not verdict(labels, certain(ours), certain(labels), codes, slice_rows=30)[0].passed


def test_rows_of_one_cluster_lose_together_and_so_less_surely():
    random, labels, codes = made()
    ours = np.where((codes == 0) & (random.random(ROWS) < 0.2), 1 - labels, labels)
    clusters = np.where(ours != labels, 0, 1 + np.arange(ROWS) % 3)
    alone, _ = verdict(labels, certain(ours), certain(labels), codes)
    together, found = verdict(labels, certain(ours), certain(labels), codes, clusters)
    assert not alone.passed
    assert together.passed
    assert found.slices[0].difference.clusters == 4


def minimum(value, rows=80, **gate):
    parts = (
        Slice(column="sex", value="f", rows=rows, metrics={"accuracy": value}, low=0.5, high=0.7),
        Slice(column="sex", value="m", rows=90, metrics={"accuracy": 0.9}, low=0.8, high=0.95),
        Slice(column="sex", value="x", rows=90, metrics={}),
    )
    slices = Slices(metric="accuracy", table=parts, columns=("sex",))
    config = GateConfig(beat_baseline=False, slice_minimum=0.7, **gate)
    return judge(
        "classification", {"accuracy": 0.9}, {"majority": {}}, None, config, rows=170, slices=slices
    )


def test_a_slice_below_the_minimum_is_refused_by_name():
    found = minimum(0.6)
    assert not found.promoted
    assert found.reason == (
        "accuracy 0.9000 misses the minimum of 0.7000 for slices in sex 'f' (0.6000 of 80 rows, "
        "95 % interval 0.5000 to 0.7000); not promoted"
    )
    assert minimum(0.75).promoted
    assert "keeps the minimum of 0.7000 in each of 2 slices of 50 rows" in minimum(0.75).reason
    assert minimum(0.6, rows=49).promoted
    assert "has no slice of 1,000 rows or more" in minimum(0.6, slice_rows=1000).reason


def gap(column, value, reason=""):
    return FairnessGap(
        column=column, equalised_odds=value, reason=reason,
        intervals={} if value is None else {"equalised_odds": (value - 0.1, value + 0.1)},
    )  # fmt: skip


def test_the_widest_gap_between_groups_decides():
    gaps = (gap("sex", 0.1), gap("race", 0.3))
    lost = gap_kept("odds_gap", gaps, 0.2)
    assert (lost.passed, lost.value) == (False, 0.3)
    assert lost.reason == (
        "has a gap of equalised odds of 0.3000 (interval 0.2000 to 0.4000) between the groups of "
        "'race', more than the 0.2000 allowed"
    )
    assert gap_kept("odds_gap", gaps, 0.3).passed


def test_a_gap_that_cannot_be_measured_is_not_taken_for_none():
    found = gap_kept("odds_gap", (gap("sex", None, "fewer than two groups have 50 rows"),), 0.2)
    assert not found.passed
    assert "'sex' (fewer than two groups have 50 rows): add rows" in found.reason


def test_a_slice_that_is_one_cluster_is_judged_by_its_rows():
    _, labels, _ = made(rows=400)
    codes = np.repeat(np.arange(4), 100)
    ours = np.where(codes == 2, 1 - labels, labels)
    rule, _ = verdict(labels, certain(ours), certain(labels), codes, clusters=codes)
    assert not rule.passed
    assert "loses more than 0.0200 against champion v3 in area 'area 2': 0.0000" in rule.reason


def test_a_loss_of_which_nobody_can_tell_whether_it_is_chance_is_refused():
    parts = (
        ComparedSlice("area", "north", 100, 0.5, 0.9),
        ComparedSlice("area", "s", 90, 0.9, 0.9),
    )
    rule = nothing_lost(Comparison(3, 100, {}, {}, slices=parts), GateConfig(), 0.02)
    assert not rule.passed
    assert rule.reason == (
        "loses more than 0.0200 against champion v3 in area 'north': 0.5000 after 0.9000 on the "
        "same 100 rows, too few of a class to tell whether by chance"
    )
