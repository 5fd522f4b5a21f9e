import numpy as np
import pytest

from tasks.baselines import arrays, require_baseline
from tasks.baselines.arrays import baseline_predictions
from tasks.config import EvaluationConfig, IngestionConfig, PipelineConfig
from tasks.datasets import DATASETS
from tasks.errors import ConfigError

RANDOM = np.random.default_rng(0)


@pytest.fixture
def rows():
    inputs = RANDOM.normal(size=(300, 4)).astype(np.float32)
    return inputs, (inputs[:, 0] + inputs[:, 1] > 0.5).astype(np.int32)


@pytest.mark.parametrize("kind", ["linear", "boosting"])
def test_the_plain_model_learns_and_the_simplest_knows_the_shares(rows, kind):
    inputs, labels = rows
    found = baseline_predictions(kind, inputs[:200], labels[:200], inputs[200:], classes=2)
    assert set(found) == {"majority", kind}
    assert found["majority"][0] == pytest.approx(np.bincount(labels[:200]) / 200)
    assert (found[kind].argmax(axis=1) == labels[200:]).mean() > 0.85


@pytest.mark.parametrize("kind", ["linear", "boosting"])
def test_regression_is_measured_against_the_mean(rows, kind):
    inputs, _ = rows
    targets = 3 * inputs[:, 0]
    found = baseline_predictions(kind, inputs[:200], targets[:200], inputs[200:], classes=0)
    assert found["mean"] == pytest.approx(np.full(100, targets[:200].mean()))
    assert np.abs(found[kind] - targets[200:]).mean() < 0.5


def test_images_are_flattened_and_an_absent_class_gets_nothing():
    images = RANDOM.integers(0, 17, (60, 3, 3, 1)).astype(np.uint8)
    labels = (images[:, 0, 0, 0] > 8).astype(np.int32)
    found = baseline_predictions("linear", images, labels, images, classes=3, pixel_maximum=16)
    assert found["linear"].shape == (60, 3)
    assert not found["linear"][:, 2].any()


def test_many_rows_are_thinned_out_and_the_name_says_so(rows, monkeypatch):
    monkeypatch.setattr(arrays, "ROWS_AT_MOST", 120)
    inputs, labels = rows
    found = baseline_predictions("linear", inputs, labels, inputs, classes=2)
    assert set(found) == {"majority", "linear_100_rows"}


def test_a_plain_model_takes_codes_for_no_order():
    codes = RANDOM.integers(0, 5, 300)
    inputs = np.c_[RANDOM.normal(size=300), codes].astype(np.float32)
    labels = np.isin(codes, (1, 3)).astype(np.int32)
    found = baseline_predictions("linear", inputs, labels, inputs, classes=2, codes=(5,))
    assert (found["linear"].argmax(axis=1) == labels).all()


def test_a_baseline_of_seasons_is_refused_before_anything_is_trained():
    def require(name, baseline):
        evaluation = EvaluationConfig(baseline=baseline)
        ingestion = IngestionConfig(dataset=name)
        config = PipelineConfig(pipeline="trial", ingestion=ingestion, evaluation=evaluation)
        require_baseline(config, DATASETS[name].problem, DATASETS[name].columns)

    with pytest.raises(ConfigError, match="digits is a problem of classification"):
        require("digits", "seasonal_naive")
    require("bike_sharing", "seasonal_naive")
    require("digits", "linear")
