import numpy as np
import pytest

from tasks.metrics import known_metrics, measure
from tasks.resampling import metric_interval
from tasks.rescoring import scorer


def scores(random, labels, skill=1.0):
    odds = 1 / (1 + np.exp(-random.normal(skill * (2 * labels - 1), 1.0)))
    return np.c_[1 - odds, odds].astype(np.float32)


def interval(metric, labels, found, **more):
    return metric_interval("classification", metric, labels, found, **more)


# so many made slices that a share of 0.90 or less would be seen if the intervals were too narrow
@pytest.mark.parametrize(
    ("metric", "true", "slices"), [("accuracy", 0.8413, 400), ("roc_auc", 0.9214, 60)]
)
def test_intervals_cover_the_truth_as_often_as_they_say(metric, true, slices):
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(slices):
        labels = random.integers(0, 2, 100)
        found = interval(metric, labels, scores(random, labels), resamples=200)
        covered += found is not None and found[0] <= true <= found[1]
    assert covered / slices >= 0.9


def test_a_few_rows_that_are_all_right_are_not_sure_to_be():
    labels = np.array([0, 1] * 10)
    found = np.eye(2, dtype=np.float32)[labels]
    for metric in ("accuracy", "f1", "balanced_accuracy", "roc_auc"):
        low, high = interval(metric, labels, found)
        assert low < 0.9
        assert high == 1.0


def test_more_rows_than_are_resampled_narrow_the_interval_to_what_they_tell():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 4000)
    found = scores(random, labels)
    whole = interval("roc_auc", labels, found)
    some = interval("roc_auc", labels, found, rows_at_most=500)
    assert np.diff(some) == pytest.approx(np.diff(whole), rel=0.25)
    assert np.mean(some) == pytest.approx(np.mean(whole), abs=0.004)


def test_rows_of_one_cluster_tell_less():
    random = np.random.default_rng(0)
    clusters = np.repeat(np.arange(40), 25)
    labels = np.repeat(random.integers(0, 2, 40), 25)
    found = np.repeat(scores(random, labels[::25]), 25, axis=0)
    alone = interval("accuracy", labels, found)
    together = interval("accuracy", labels, found, clusters=clusters)
    assert np.diff(together) > 2 * np.diff(alone)


def test_where_nothing_can_be_said_nothing_is():
    one = np.zeros(30, int)
    assert interval("roc_auc", one, np.full((30, 2), 0.5, np.float32)) is None
    assert interval("f1", one[:1], np.full((1, 2), 0.5, np.float32)) is None


@pytest.mark.parametrize("metric", known_metrics("regression"))
def test_metrics_of_values_have_intervals(metric):
    random = np.random.default_rng(0)
    targets = random.normal(size=300)
    values = targets + random.normal(0, 0.5, 300)
    low, high = metric_interval("regression", metric, targets, values)
    true = {"mae": 0.4, "rmse": 0.5, "r2": 0.75}[metric]
    assert low < true < high


@pytest.mark.parametrize(
    ("problem", "metric"),
    [(problem, metric) for problem in ("classification", "regression")
     for metric in known_metrics(problem)],
)  # fmt: skip
@pytest.mark.parametrize("rows", [60, 61])
def test_one_model_alone_is_scored_as_it_is_measured(problem, metric, rows):
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, rows)
    found = scores(random, truth)
    if problem == "regression":
        truth, found = random.normal(size=rows), random.normal(size=rows)
    score = scorer(problem, metric, truth, found, None, ())
    assert score(np.arange(rows)) == pytest.approx(measure(problem, truth, found)[metric])
