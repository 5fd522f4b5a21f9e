import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference

from tasks.fairness import measure_gap
from tasks.membership import Partition
from tasks.slice_rules import gap_kept

CLASSES = ("no", "yes")


def probabilities(predicted, classes=2):
    return np.eye(classes, dtype=np.float32)[predicted]


def gap(codes, labels, predicted, names=("f", "m"), groups=None, classes=CLASSES, least_rows=20):
    partition = Partition(np.asarray(codes, np.int32), names, groups or len(names))
    return measure_gap(
        "classification", "sex", partition, labels, probabilities(predicted, len(classes)), classes,
        least_rows=least_rows, confidence=0.95,
    )  # fmt: skip


def made(rows=4000, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 2, rows), random.integers(0, 2, rows), random


def test_groups_that_are_treated_alike_have_gaps_near_zero():
    codes, labels, random = made()
    predicted = np.where(random.random(4000) < 0.8, labels, 1 - labels)
    found = gap(codes, labels, predicted)
    assert found.demographic_parity < 0.04
    assert found.equalised_odds < 0.06
    assert found.groups == ("f", "m")


def test_a_group_that_is_given_less_is_found_with_an_interval_around_it():
    codes, labels, random = made()
    # of the first group three of ten who should be given it are not
    denied = (codes == 0) & (labels == 1) & (random.random(4000) < 0.3)
    found = gap(codes, labels, np.where(denied, 0, labels))
    assert found.equalised_odds == pytest.approx(0.3, abs=0.04)
    assert found.demographic_parity == pytest.approx(0.15, abs=0.04)
    for name, value in (("equalised_odds", 0.3), ("demographic_parity", 0.15)):
        low, high = found.intervals[name]
        assert low < value < high
        assert high - low < 0.12
        assert found.labels[name] == "yes"


def test_the_figures_are_those_of_fairlearn():
    codes, labels, random = made(600)
    predicted = random.integers(0, 2, 600)
    found = gap(codes, labels, predicted)
    for value, measure in (
        (found.demographic_parity, demographic_parity_difference),
        (found.equalised_odds, equalized_odds_difference),
    ):
        assert value == pytest.approx(measure(labels, predicted, sensitive_features=codes))


def test_of_more_classes_the_one_with_the_largest_gap_counts():
    random = np.random.default_rng(0)
    codes, labels = random.integers(0, 2, 3000), random.integers(0, 3, 3000)
    predicted = np.where((codes == 1) & (labels == 2), 0, labels)
    found = gap(codes, labels, predicted, classes=("a", "b", "c"))
    assert found.labels["equalised_odds"] == "c"
    assert found.equalised_odds == 1.0


def test_small_groups_lumps_and_blanks_are_not_compared():
    codes, labels, _ = made(200)
    codes[:5] = 2
    codes[5:60] = 3
    found = gap(codes, labels, labels, ("f", "m", "few", "(blank)"), groups=3)
    assert found.groups == ("f", "m")
    alone = gap(codes, labels, labels, ("f", "m", "few", "(blank)"), groups=3, least_rows=1000)
    assert (alone.demographic_parity, alone.equalised_odds) == (None, None)
    assert alone.reason == "fewer than two groups have 1,000 rows"


def test_a_group_without_a_class_has_no_odds_but_has_a_share():
    """By fairlearn alone its rate would count as 0, the largest gap there can be."""
    codes, labels, _ = made(400)
    labels[codes == 1] = 0
    found = gap(codes, labels, labels)
    assert found.demographic_parity > 0.3
    assert found.equalised_odds is None
    assert "10 rows of a class" in found.reason


def test_of_values_the_means_and_the_errors_of_groups_are_compared():
    random = np.random.default_rng(0)
    codes = random.integers(0, 2, 2000)
    targets = random.normal(0, 1, 2000) + 10
    values = (targets + np.where(codes == 1, 3, 0.5)).astype(np.float32)
    partition = Partition(codes.astype(np.int32), ("f", "m"), 2)
    found = measure_gap(
        "regression", "sex", partition, targets, values, (), least_rows=50, confidence=0.95
    )
    assert found.predictions == pytest.approx(2.5, abs=0.15)
    assert found.errors == pytest.approx(2.5, abs=1e-5)
    assert found.intervals["predictions"][0] < 2.5 < found.intervals["predictions"][1]
    assert found.demographic_parity is None


def test_a_group_without_one_class_is_judged_by_the_rate_that_it_has():
    random = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [500, 500, 200]).astype(np.int32)
    truth = np.where(codes == 2, 0, random.integers(0, 2, 1200))
    truth[1000:1009] = 1
    # two groups are always right; of the third half of the others are taken for the class
    wrong = (codes == 2) & (random.random(1200) < 0.5) & (truth == 0)
    given = np.where(wrong, 1, truth)
    given[1000:1009] = 0
    found = measure_gap(
        "classification", "race", Partition(codes, ("a", "b", "c"), 3), truth,
        np.eye(2, dtype=np.float32)[given], ("no", "yes"), least_rows=50, confidence=0.95,
    )  # fmt: skip
    assert found.equalised_odds == pytest.approx(wrong[codes == 2].sum() / 191)
    low, high = found.intervals["equalised_odds"]
    assert 0.4 < low < found.equalised_odds < high < 0.65
    assert "'c', whose rate of true or of false positives is left out" in found.reason
    rule = gap_kept("odds_gap", (found,), 0.1)
    assert not rule.passed
    assert "('race': fewer than 10 rows of a class, or of the rest, are in 'c'" in rule.reason
