import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression

from tasks.importance import Scored, column_groups, permutation_importances, shapley_values

FITTED = {
    "numeric": [{"name": "signal", "indicator": True}, {"name": "noise", "indicator": False}],
    "category": [{"name": "weak", "vocabulary": ["a", "b"]}],
}
GROUPS = {"signal": (0, 1), "noise": (2,), "weak": (3, 4, 5)}


@pytest.fixture(scope="module")
def rows():
    """A column that decides the class, one that hints at it, and one of noise."""
    random, count = np.random.default_rng(0), 400
    labels = np.arange(count) % 2
    signal = labels * 2.0 - 1 + random.normal(0, 0.7, count)
    weak = np.where(random.random(count) < 0.85, labels, 1 - labels)
    inputs = np.column_stack(
        [signal, np.zeros(count), random.normal(size=count), np.zeros(count), weak, 1 - weak]
    )
    return inputs.astype(np.float32), labels


def scored(rows, metric="log_loss"):
    return Scored("classification", metric, *rows)


def network(rows):
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2, activation="softmax")])
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    model.fit(*rows, epochs=15, verbose=0)
    return lambda inputs: keras.ops.convert_to_numpy(model(inputs))


def trees(rows):
    return HistGradientBoostingClassifier(max_iter=8, max_leaf_nodes=4).fit(*rows).predict_proba


def test_the_inputs_of_a_column_belong_together():
    assert column_groups(FITTED) == GROUPS
    coded = column_groups({**FITTED, "codes": [3]})
    assert coded == {"signal": (0, 1), "noise": (2,), "weak": (3,)}


@pytest.mark.parametrize("make", [network, trees])
def test_the_planted_signal_comes_first_and_the_noise_last(make, rows):
    found = permutation_importances(make(rows), scored(rows), GROUPS, repeats=5)
    assert [importance.column for importance in found] == ["signal", "weak", "noise"]
    signal, weak, noise = (importance.mean for importance in found)
    assert signal > weak > 0.02
    assert abs(noise) < weak / 4
    assert all(importance.deviation > 0 for importance in found)


def test_of_plain_columns_they_are_those_of_scikit_learn(rows):
    inputs, labels = rows
    model = LogisticRegression().fit(inputs, labels)
    groups = {str(place): (place,) for place in range(6)}
    ours = permutation_importances(
        model.predict_proba, scored(rows, "accuracy"), groups, repeats=4, seed=3
    )
    theirs = permutation_importance(model, inputs, labels, n_repeats=4, random_state=3)
    for importance in ours:
        place = int(importance.column)
        assert importance.mean == theirs.importances_mean[place]
        assert importance.deviation == theirs.importances_std[place]


def test_the_same_seed_gives_the_same_importances(rows):
    predict = trees(rows)
    one, same, other = (
        permutation_importances(predict, scored(rows), GROUPS, repeats=2, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one == same != other


def test_there_are_none_where_the_metric_is_undefined(rows):
    inputs, labels = rows
    one_class = scored((inputs[labels == 0], labels[labels == 0]), "roc_auc")
    assert permutation_importances(trees(rows), one_class, GROUPS, repeats=2) == ()


def test_errors_are_losses_too(rows):
    inputs, _ = rows
    values = Scored("regression", "mae", inputs, inputs[:, 0])
    found = permutation_importances(lambda given: given[:, 0], values, GROUPS, repeats=2)
    assert found[0].column == "signal"
    assert found[0].mean > 0.5
    assert [importance.mean for importance in found[1:]] == [0.0, 0.0]


def test_shapley_values_of_a_linear_model_are_its_weights_times_the_differences(rows):
    inputs, _ = rows
    weights = np.array([1.0, 2.0, -1.0, 0.5, 0.25, 3.0])
    background = inputs[:8]
    values, start, end = shapley_values(
        lambda given: given @ weights, inputs[9], background, GROUPS
    )
    differences = (inputs[9] - background.mean(axis=0)) * weights
    expected = [differences[list(group)].sum() for group in GROUPS.values()]
    assert values == pytest.approx(expected, abs=1e-5)
    assert (start, end) == pytest.approx((background.mean(0) @ weights, inputs[9] @ weights))


def test_shapley_values_sum_to_the_difference_and_know_what_matters(rows, monkeypatch):
    inputs, _ = rows
    predict = trees(rows)
    respond = lambda given: predict(given)[:, 1]  # noqa: E731
    values, start, end = shapley_values(respond, inputs[1], inputs[100:131], GROUPS)
    assert values.sum() == pytest.approx(end - start)
    assert end == pytest.approx(respond(inputs[1:2])[0])
    assert np.argmax(np.abs(values)) == 0
    monkeypatch.setattr("tasks.importance.NUMBERS_AT_ONCE", 1)
    again, *_ = shapley_values(respond, inputs[1], inputs[100:131], GROUPS)
    assert again == pytest.approx(values)
