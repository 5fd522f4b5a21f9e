import keras
import numpy as np
import pytest

from tasks.fitting import FitSettings, fit, prunable_weights, prune, zeros_kept

SETTINGS = FitSettings(
    "classification", epochs=3, batch_size=16, learning_rate=0.05, steps_per_execution=4, seed=1
)


def network() -> keras.Model:
    keras.utils.set_random_seed(3)
    layers = keras.layers
    inputs = keras.Input((6, 6, 1))
    values = layers.BatchNormalization()(layers.Conv2D(4, 3)(inputs))
    values = layers.Dense(8, activation="relu")(layers.Flatten()(values))
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(values))


def rows() -> tuple[np.ndarray, np.ndarray]:
    inputs = np.random.default_rng(0).normal(size=(128, 6, 6, 1)).astype(np.float32)
    return inputs, (inputs.mean(axis=(1, 2, 3)) > 0).astype(np.int32)


def kernels(model: keras.Model) -> np.ndarray:
    return np.concatenate([np.asarray(value).ravel() for value in prunable_weights(model)])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_so_many_weights_become_zero_and_those_are_the_smallest(share: float) -> None:
    model = network()
    before, others = kernels(model), [np.asarray(v) for v in model.variables if len(v.shape) == 1]
    count = prune(model, share)
    after = kernels(model)
    assert count == (after == 0).sum() == round(share * len(before))
    np.testing.assert_array_equal(after[after != 0], before[after != 0])
    if 0 < share < 1:
        assert np.abs(before[after == 0]).max() <= np.abs(before[after != 0]).min()
    for value, kept in zip((v for v in model.variables if len(v.shape) == 1), others, strict=True):
        np.testing.assert_array_equal(np.asarray(value), kept)


def test_of_equal_weights_no_more_are_pruned_than_asked_for() -> None:
    model = keras.Sequential(
        [keras.Input((10,)), keras.layers.Dense(10, kernel_initializer="ones")]
    )
    assert prune(model, 0.25) == (kernels(model) == 0).sum() == 25


def test_a_network_without_kernels_has_nothing_to_prune() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    assert prune(model, 0.5) == 0


def test_zeros_stay_zero_through_a_fine_tuning_that_moves_the_others() -> None:
    model = network()
    prune(model, 0.6)
    before = kernels(model)
    with zeros_kept(model):
        result = fit(model, rows(), rows(), SETTINGS)
    after = kernels(model)
    np.testing.assert_array_equal(after == 0, before == 0)
    assert (after != before).sum() > 0.3 * len(after)
    assert result.history["loss"][-1] < result.history["loss"][0]
    assert not any(variable.constraint for variable in prunable_weights(model))


def test_a_layers_own_constraint_holds_as_well() -> None:
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, kernel_constraint=keras.constraints.NonNeg())]
    )
    own = model.layers[0].kernel.constraint
    model.layers[0].kernel.assign(np.tile([[1.0, 0.0, 1.0]], (4, 1)))
    with zeros_kept(model):
        found = model.layers[0].kernel.constraint(np.tile([[-1.0, 2.0, 3.0]], (4, 1)))
        np.testing.assert_array_equal(np.asarray(found)[0], [0.0, 0.0, 3.0])
    assert model.layers[0].kernel.constraint is own
