"""What is drawn of counts and sums is what would be drawn of rows."""

import itertools

import numpy as np
import pytest

from tasks import significance
from tasks.metrics import HIGHER_IS_BETTER
from tasks.rescoring import scorer
from tasks.significance import paired_difference
from tasks.tallies import likelihood_of, tally_of

LABELS = ("accuracy", "balanced_accuracy", "f1", "f1_macro", "precision", "recall_macro")
METRICS = (*LABELS, "log_loss", "brier", "roc_auc")


def made(rows, seed=0):
    """Labels of two classes, and rounded probabilities of two models, so that there are ties."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows)
    labels[:2] = 0, 1
    found = []
    for noise in (0.3, 0.5):
        given = np.clip(0.6 * labels + 0.2 + random.normal(0, noise, rows), 0.01, 0.99).round(1)
        given = np.clip(given, 0.05, 0.95)
        found.append(np.stack([1 - given, given], axis=1).astype(np.float32))
    return labels, *found


@pytest.mark.parametrize("metric", METRICS)
def test_swapped_gains_are_those_of_swapped_rows(metric):
    labels, ours, theirs = made(9)
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    score, index = scorer("classification", metric, labels, ours, theirs, ()), np.arange(9)
    every = []
    for swaps in itertools.product((0, 9), repeat=9):
        first = index + np.array(swaps)
        every.append(sign * (score(first) - score((first + 9) % 18)))
    drawn = tally_of("classification", metric, labels, ours, theirs).swapped(2000)
    nearest = np.abs(drawn[:, None] - np.array(every)).min(axis=1)
    assert nearest.max() < 1e-6
    assert len(np.unique(drawn.round(6))) >= 0.9 * len(np.unique(np.round(every, 6)))
    assert drawn.mean() == pytest.approx(np.mean(every), abs=0.03)
    assert drawn.std() == pytest.approx(np.std(every), rel=0.1)


@pytest.mark.parametrize("metric", METRICS)
def test_the_interval_and_the_chance_are_those_of_drawn_rows(metric, monkeypatch):
    labels, ours, theirs = made(300, seed=2)
    quick = paired_difference("classification", metric, labels, ours, theirs)
    monkeypatch.setattr(significance, "tally_of", lambda *given: None)
    slow = paired_difference("classification", metric, labels, ours, theirs, resamples=2000)
    wide = slow.high - slow.low
    assert quick.value == slow.value
    assert quick.low == pytest.approx(slow.low, abs=0.1 * wide)
    assert quick.high == pytest.approx(slow.high, abs=0.1 * wide)
    assert quick.chance == pytest.approx(slow.chance, abs=0.02)


def test_an_error_that_is_smaller_is_a_gain():
    targets = np.arange(40.0)
    near, far = targets + 0.1, targets + np.where(np.arange(40) % 2, 1.0, 0.2)
    drawn = tally_of("regression", "mae", targets, near, far).resampled(500)
    assert np.all(drawn > 0)
    assert drawn.mean() == pytest.approx(0.5, abs=0.05)


def test_a_resample_without_a_class_has_no_area():
    labels = np.r_[1, np.zeros(3, int)]
    given = np.array([0.9, 0.1, 0.2, 0.3])
    both = np.stack([1 - given, given], axis=1)
    drawn = tally_of("classification", "roc_auc", labels, both, both[::-1]).resampled(2000)
    # a row is not drawn in (3/4)^4 of all resamples
    assert np.mean(np.isnan(drawn)) == pytest.approx(0.32 + 0.004, abs=0.04)


def test_what_is_more_than_counts_and_sums_has_no_tally():
    labels, ours, theirs = made(20)
    assert tally_of("classification", "calibration_error", labels, ours, theirs) is None
    assert tally_of("regression", "rmse", labels, ours[:, 0], theirs[:, 0]) is None
    three = np.random.default_rng(0).dirichlet(np.ones(3), 20)
    assert tally_of("classification", "roc_auc", labels, three, three[::-1]) is None


def test_no_sample_makes_a_gain_impossible():
    assert likelihood_of(9.0, np.zeros(999)) == pytest.approx(2 / 1000)
    assert likelihood_of(0.0, np.zeros(999)) == 1
