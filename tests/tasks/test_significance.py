import numpy as np
import pytest

from tasks.config import GateConfig
from tasks.gate import judge
from tasks.metrics import known_metrics, measure
from tasks.resampling import evenly_spaced
from tasks.rescoring import scorer
from tasks.rules import Comparison
from tasks.significance import (
    agresti_min,
    disagreements,
    mcnemar,
    paired_difference,
    rows_to_decide,
)

TAGS = ("B-place", "I-place", "B-person", "I-person", "O")
PAIRS = 200


def probabilities(random, rows, classes=2):
    return random.dirichlet(np.ones(classes), rows).astype(np.float32)


def certain(predicted, classes=2):
    return np.eye(classes, dtype=np.float32)[predicted]


def made(problem, random, rows=60, classes=2):
    """Truth, and predictions of two models."""
    if problem == "classification":
        labels = random.integers(0, classes, rows)
        return labels, *(probabilities(random, rows, classes) for _ in range(2))
    if problem == "regression":
        targets = random.normal(size=rows)
        return targets, *(targets + random.normal(size=(2, rows)).astype(np.float32))
    there = np.arange(7) < random.integers(1, 8, (rows, 1))
    if problem == "token_classification":
        truth = np.where(there, random.integers(0, len(TAGS), (rows, 7)), -1)
        found = random.dirichlet(np.ones(len(TAGS)), (2, rows, 7)).astype(np.float32)
        return truth, found[0], found[1][:, :5]
    truth = np.where(there, random.integers(0, 50, (rows, 7)), -1)
    found = np.where(there, np.log(random.uniform(0.01, 1, (2, rows, 7))), np.nan)
    return truth, *found.astype(np.float32)


@pytest.mark.parametrize(
    ("problem", "metric"),
    [
        (problem, metric)
        for problem in (
            "classification", "regression", "token_classification", "text_generation",
        )
        for metric in known_metrics(problem)
    ],
)  # fmt: skip
def test_it_scores_as_the_models_are_measured(problem, metric):
    truth, ours, theirs = made(problem, np.random.default_rng(3))
    classes = TAGS if problem == "token_classification" else ()
    score, rows = scorer(problem, metric, truth, ours, theirs, classes), np.arange(len(truth))
    for found, chosen in ((ours, rows), (theirs, rows + len(rows))):
        whole = measure(problem, truth, found, classes=classes)[metric]
        assert score(chosen) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("metric", ["roc_auc", "pr_auc", "brier", "f1_macro", "balanced_accuracy"])
def test_it_scores_more_than_two_classes_as_they_are_measured(metric):
    labels, ours, theirs = made("classification", np.random.default_rng(2), classes=4)
    score = scorer("classification", metric, labels, ours, theirs, ())
    assert score(np.arange(60)) == pytest.approx(measure("classification", labels, ours)[metric])


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "brier"])
def test_a_model_does_not_differ_from_itself(metric):
    labels, found, _ = made("classification", np.random.default_rng(0))
    same = paired_difference("classification", metric, labels, found, found)
    assert (same.value, same.low, same.high, same.chance) == (0, 0, 0, 1)


@pytest.mark.parametrize(("metric", "reach"), [("accuracy", 0.0316), ("f1", 0.05)])
def test_the_same_labels_on_a_few_rows_leave_room_for_others(metric, reach):
    """Of 60 rows without a disagreement: 1.96 / 62, and 3 / 60."""
    labels, found, _ = made("classification", np.random.default_rng(0))
    alike = found * np.float32(0.999)
    same = paired_difference("classification", metric, labels, found, alike)
    assert (same.value, same.chance) == (0, 1)
    assert (same.low, same.high) == pytest.approx((-reach, reach), abs=1e-4)


def test_the_interval_of_agresti_and_min():
    """By hand: (7.5 - 3.5) / 102, and 1.96 times the root of 11 - 16 / 102, over 102."""
    low, high = agresti_min(7, 3, 100, 0.95)
    assert (low + high) / 2 == pytest.approx(4 / 102)
    assert (high - low) / 2 == pytest.approx(1.95996 * (11 - 16 / 102) ** 0.5 / 102, rel=1e-5)


def test_a_single_row_and_classes_of_single_rows_have_no_difference():
    random = np.random.default_rng(0)
    one = made("classification", random, rows=1)
    assert paired_difference("classification", "accuracy", *one) is None
    found = [probabilities(random, 30, 30) for _ in range(2)]
    assert paired_difference("classification", "roc_auc", np.arange(30), *found) is None


def test_many_rows_are_thinned_out_for_the_interval_alone():
    random = np.random.default_rng(0)
    truth, ours, theirs = made("regression", random, rows=50_000)
    found = paired_difference("regression", "mae", truth, ours, theirs)
    figures = [measure("regression", truth, each)["mae"] for each in (ours, theirs)]
    assert found.value == pytest.approx(figures[1] - figures[0])
    assert found.rows == 50_000


def test_better_is_positive_also_for_errors_and_the_other_way_round_negative():
    random = np.random.default_rng(0)
    targets = random.normal(size=100)
    near, far = targets + 0.1, targets + random.normal(size=100)
    found = paired_difference("regression", "mae", targets, near, far)
    assert 0 < found.low < found.value < found.high
    assert found.chance < 0.01
    turned = paired_difference("regression", "mae", targets, far, near)
    assert turned.value == pytest.approx(-found.value)
    assert turned.high < 0


def test_the_same_rows_give_the_same_answer():
    truth, ours, theirs = made("classification", np.random.default_rng(1))
    first, second = (
        paired_difference("classification", "f1", truth, ours, theirs) for _ in range(2)
    )
    assert first == second


@pytest.mark.slow
def test_an_interval_covers_the_true_difference_as_often_as_it_says():
    random, held = np.random.default_rng(0), 0
    for _ in range(PAIRS):
        labels = random.integers(0, 2, 150)
        ours, theirs = (
            certain(np.where(random.random(150) < right, labels, 1 - labels))
            for right in (0.85, 0.8)
        )
        found = paired_difference("classification", "accuracy", labels, ours, theirs)
        held += found.low <= 0.05 <= found.high
    assert held / PAIRS > 0.9


def test_mcnemar_is_the_sign_test_on_rows_where_only_one_is_right():
    labels = np.zeros(30, np.int64)
    ours, theirs = np.zeros(30, np.int64), np.zeros(30, np.int64)
    theirs[:9], ours[9] = 1, 1
    # of 10 coins at most one falls on the rarer side: 2 (1 + 10) / 1024
    found = disagreements(labels, certain(ours), certain(theirs))
    assert found == (9, 1)
    assert mcnemar(*found) == pytest.approx(22 / 1024)


def test_a_metric_that_is_undefined_has_no_difference():
    labels = np.ones(40, np.int64)
    random = np.random.default_rng(0)
    ours, theirs = probabilities(random, 40), probabilities(random, 40)
    assert paired_difference("classification", "roc_auc", labels, ours, theirs) is None


def test_so_many_rows_as_are_said_to_decide_do():
    def drawn(rows):
        random = np.random.default_rng(5)
        targets = random.normal(size=rows)
        ours, theirs = (targets + random.normal(0, size, rows) for size in (0.95, 1.0))
        return paired_difference("regression", "mae", targets, ours, theirs)

    few = drawn(200)
    assert few.low < 0 < few.high
    needed = rows_to_decide(few, 0.0)
    assert 200 < needed < 20_000
    # as likely as not it is decided there, so twice as many
    assert drawn(2 * needed).low > 0
    assert rows_to_decide(few, few.value) is None
    assert rows_to_decide(few, few.value * 1.0001) is None


def promoted(gain, problem="classification", metric="accuracy", rows=300, **rules):
    """The share of pairs of which the first is promoted, though it is better by `gain` only."""
    random, count = np.random.default_rng(0), 0
    config = GateConfig(metric=metric, beat_baseline=False, **{"rule": "better", **rules})
    for _ in range(PAIRS):
        if problem == "regression":
            truth = random.normal(size=rows)
            ours, theirs = (truth + random.normal(0, size, rows) for size in (1 - gain, 1))
        else:
            truth = random.integers(0, 2, rows)
            ours, theirs = (
                certain(np.where(random.random(rows) < right, truth, 1 - truth))
                for right in (0.9 + gain, 0.9)
            )
        figures = [measure(problem, truth, found) for found in (ours, theirs)]
        difference = paired_difference(problem, metric, truth, ours, theirs)
        comparison = Comparison(1, rows, *figures, difference)
        count += judge(
            problem, figures[0], {"majority": figures[1], "mean": figures[1]}, comparison, config,
            rows=rows,
        ).promoted  # fmt: skip
    return count / PAIRS


@pytest.mark.parametrize(
    ("problem", "metric"),
    [
        ("classification", "accuracy"),
        pytest.param("regression", "mae", marks=pytest.mark.slow),
    ],
)
def test_of_equal_models_no_more_are_promoted_than_configured(problem, metric, record_property):
    share = promoted(0.0, problem, metric)
    record_property("promoted_by_chance", share)
    assert share <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("rows", [40, 300])
def test_of_models_that_are_worse_by_the_margin_few_are_promoted_as_not_worse(rows):
    lost = promoted(-0.027, rows=rows, rule="not_worse", margin=0.03)
    assert lost <= 0.06


def test_a_real_gain_is_mostly_found(record_property):
    share = promoted(0.06)
    record_property("found", share)
    assert share > 0.6


def promoted_of_days(hours, *, told):
    """The share of equal models promoted, where the errors of one day go together."""
    random, days, count = np.random.default_rng(1), 40, 0
    clusters = np.repeat(np.arange(days), hours)
    for _ in range(50):
        truth = random.normal(size=days * hours)
        ours, theirs = (
            truth + np.repeat(random.normal(size=days), hours) + random.normal(0, 0.5, len(truth))
            for _ in range(2)
        )
        found = paired_difference(
            "regression", "mae", truth, ours, theirs, clusters=clusters if told else None
        )
        assert found.clusters == (days if told else None)
        count += found.low > 0
    return count / 50


@pytest.mark.slow
def test_rows_of_a_day_are_drawn_together_so_that_equal_models_stay_equal(record_property):
    alone, together = (promoted_of_days(24, told=told) for told in (False, True))
    record_property("promoted_by_chance", (alone, together))
    assert alone > 0.15
    assert together <= 0.05


def test_a_cluster_of_each_row_alone_is_no_cluster():
    random = np.random.default_rng(0)
    truth, ours, theirs = made("regression", random, rows=80)
    apart = paired_difference("regression", "mae", truth, ours, theirs)
    same = paired_difference(
        "regression", "mae", truth, ours, theirs, clusters=random.permutation(80)
    )
    assert same.clusters == 80
    assert (same.low, same.high) == pytest.approx((apart.low, apart.high), abs=0.05)


def test_one_cluster_decides_nothing():
    truth, ours, theirs = made("regression", np.random.default_rng(0))
    one = np.zeros(60, np.int64)
    assert paired_difference("regression", "mae", truth, ours, theirs, clusters=one) is None


def test_few_clusters_are_less_sure_than_many():
    """Of five clusters the interval is that of Student's t with four degrees of freedom."""
    random = np.random.default_rng(0)
    truth = np.zeros(50)
    ours = np.repeat(random.normal(size=5), 10)
    found = paired_difference(
        "regression", "mae", truth, ours, np.zeros(50), clusters=np.repeat(np.arange(5), 10)
    )
    gains = -np.abs(ours[::10])
    # all that five clusters can give: from the worst alone to the best alone
    assert found.low == pytest.approx(gains.min(), abs=0.05)
    assert found.high == pytest.approx(gains.max(), abs=0.25)


def test_of_a_constant_and_a_score_only_the_ranks_are_swapped():
    """A score that tells is found to, though a constant lies on one side of all of its values."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 150)
    tells = 0.02 * labels + random.uniform(0, 0.06, 150)
    ours = np.stack([1 - tells, tells], axis=1).astype(np.float32)
    constant = np.full((150, 2), 0.5, np.float32)
    found = paired_difference("classification", "roc_auc", labels, ours, constant)
    assert found.low > 0
    assert found.chance < 0.01


@pytest.mark.parametrize("metric", ["accuracy", "f1", "log_loss", "roc_auc"])
def test_more_rows_than_are_drawn_make_the_interval_no_wider(metric):
    random = np.random.default_rng(5)
    labels = random.integers(0, 2, 4000)
    both = [
        np.clip(0.8 * labels + 0.1 + random.normal(0, noise, 4000), 0.01, 0.99)
        for noise in (0.3, 0.33)
    ]
    models = [np.stack([1 - values, values], axis=1).astype(np.float32) for values in both]
    whole = paired_difference("classification", metric, labels, *models)
    some = paired_difference("classification", metric, labels, *models, rows_at_most=1000)
    assert some.value == whole.value
    assert some.rows == 4000
    assert some.high - some.low == pytest.approx(whole.high - whole.low, rel=0.25)
    assert abs((some.high + some.low) / 2 - some.value) < whole.high - whole.low
    assert (some.chance < 0.05) == (whole.chance < 0.05)


def test_rows_are_left_out_evenly():
    assert list(evenly_spaced(5, 9)) == [0, 1, 2, 3, 4]
    chosen = evenly_spaced(20_001, 20_000)
    assert len(np.unique(chosen)) == 20_000
    assert (chosen[0], chosen[-1]) == (0, 20_000)
