import itertools

import numpy as np
import onnxruntime
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from tasks.trees import as_onnx, ensemble_of, rounded_down, summary_of_trees

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(600, 5)).astype(np.float32)
# two neighbouring float32: their middle is none
ROWS[:, 4] = np.where(RANDOM.random(600) < 0.5, 1, np.nextafter(np.float32(1), np.float32(2)))
SCORE = ROWS[:, 0] * ROWS[:, 1] + 2 * (ROWS[:, 4] > 1)
TARGETS = {0: 40 * SCORE + 200, 2: (SCORE > 1).astype(int), 3: np.digitize(SCORE, (0, 2))}


def fitted(classes, **settings):
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return kind(max_iter=20, random_state=0, **settings).fit(ROWS, TARGETS[classes])


def predicted(content, rows=ROWS):
    session = onnxruntime.InferenceSession(content)
    (found,) = session.run(None, {session.get_inputs()[0].name: rows})
    return found


@pytest.mark.parametrize("classes", [2, 3])
def test_the_file_gives_the_estimators_probabilities(classes):
    estimator = fitted(classes)
    found = predicted(as_onnx(ensemble_of(estimator, 20, classes)))
    assert found.dtype == np.float32
    assert np.abs(found - estimator.predict_proba(ROWS)).max() <= 1e-6


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_the_file_gives_the_estimators_values_in_their_unit(loss):
    estimator = fitted(0, loss=loss)
    found = predicted(as_onnx(ensemble_of(estimator, 20, 0)))
    assert found.shape == (600, 1)
    assert found[:, 0] == pytest.approx(estimator.predict(ROWS), rel=1e-5)


def test_only_the_rounds_that_are_kept_are_in_the_file():
    estimator = fitted(2)
    kept = ensemble_of(estimator, 5, 2)
    after_five = next(itertools.islice(estimator.staged_predict_proba(ROWS), 4, None))
    assert len(kept.trees) == 5
    assert np.abs(predicted(as_onnx(kept)) - after_five).max() <= 1e-6


def test_the_same_trees_give_the_same_bytes():
    first, second = (as_onnx(ensemble_of(fitted(3), 20, 3)) for _ in range(2))
    assert first == second


def test_thresholds_are_rounded_down_and_never_up():
    above = np.nextafter(np.float32(1), np.float32(2))
    middle = (1 + float(above)) / 2
    third = 1 + 2 * (float(above) - 1) / 3
    assert rounded_down(np.array([middle, third, 1.0, float(above)])).tolist() == [1, 1, 1, above]


def test_the_summary_counts_rounds_trees_and_leaves():
    ensemble = ensemble_of(fitted(3, max_leaf_nodes=4), 20, 3)
    lines = {line.split()[0]: line.split()[1:] for line in summary_of_trees(ensemble).splitlines()
             if line.strip()}  # fmt: skip
    assert lines["rounds"] == ["20"]
    assert lines["trees"] == ["60"]
    assert lines["nodes"] == [f"{ensemble.nodes:,}"]
    assert lines["leaves"][2] == "4"
