from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from tasks.fitting import BackboneError, Checkpoint, FitSettings, Progress, fit
from tasks.fitting.phases import Phase, learning_rate_of, optimizer_of, phase_after

SETTINGS = FitSettings(
    "classification", epochs=4, batch_size=64, learning_rate=0.05, frozen_epochs=2,
    fine_tuning_rate=0.02, fine_tuned_layers=("block2",), seed=1,
)  # fmt: skip
PHASE = Phase(0, 10, 0.1, "as_built")
Weights = dict[str, list[np.ndarray]]


def network(seed: int = 1) -> keras.Model:
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = keras.Input((4,))
    backbone = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(6, name="block1_dense"),
            layers.BatchNormalization(name="block2_normalization"),
            layers.Dense(6, name="block2_dense"),
        ],
        name="backbone",
    )
    outputs = layers.Dense(2, activation="softmax", name="probabilities")(backbone(inputs))
    return keras.Model(inputs, outputs)


def rows() -> tuple[np.ndarray, np.ndarray]:
    inputs = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    return inputs, (inputs[:, 0] > 0).astype(np.int32)


def weights_of(model: keras.Model) -> Weights:
    layers = [*model.get_layer("backbone").layers, model.get_layer("probabilities")]
    return {layer.name: [np.copy(value) for value in layer.get_weights()] for layer in layers}


def own_weights_of(model: keras.Model) -> Weights:
    return {layer.name: [np.copy(value) for value in layer.get_weights()] for layer in model.layers}


def changed(before: Weights, after: Weights) -> set[str]:
    return {name for name in before if not all(map(np.array_equal, before[name], after[name]))}


def until(last: int) -> Callable[[int, dict[str, float]], None]:
    def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == last:
            raise KeyboardInterrupt

    return on_epoch


def test_backbone_is_frozen_first_and_then_the_named_layers_are_trained() -> None:
    model = network()
    states = [weights_of(model)]
    fit(model, rows(), rows(), SETTINGS, on_epoch=lambda *_: states.append(weights_of(model)))
    assert changed(states[0], states[2]) == {"probabilities"}
    # batch normalisation has the same name, and stays in inference mode all the same
    assert changed(states[2], states[4]) == {"probabilities", "block2_dense"}
    assert all(layer.trainable for layer in model.get_layer("backbone").layers)


def test_all_layers_of_the_backbone_are_trained_where_none_is_named() -> None:
    model = network()
    before = weights_of(model)
    fit(model, rows(), rows(), replace(SETTINGS, frozen_epochs=1, fine_tuned_layers=()))
    assert changed(before, weights_of(model)) == {*before} - {"block2_normalization"}


def test_without_phases_the_network_is_trained_as_it_was_built() -> None:
    model = network()
    before = weights_of(model)
    fit(model, rows(), rows(), replace(SETTINGS, frozen_epochs=0, fine_tuned_layers=()))
    assert changed(before, weights_of(model)) == {*before}


@pytest.mark.parametrize("last", [1, 2, 3])
def test_training_that_goes_on_is_in_its_phase_and_its_schedule(last: int, tmp_path: Path) -> None:
    # one step per epoch and no dropout, so that the order of the rows does not matter
    settings = replace(SETTINGS, schedule="cosine", warmup=0.3)
    whole, cut, resumed = network(), network(), network(seed=7)
    checkpoint = Checkpoint(tmp_path / "state.npz")
    fit(whole, rows(), rows(), settings)
    with pytest.raises(KeyboardInterrupt):
        fit(cut, rows(), rows(), settings, checkpoint=checkpoint, on_epoch=until(last))
    assert fit(resumed, rows(), rows(), settings, checkpoint=checkpoint).resumed_from == last
    for one, two in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert one == pytest.approx(two, abs=1e-6)


def test_patience_counts_in_the_last_phase_only() -> None:
    settings = replace(SETTINGS, epochs=9, frozen_epochs=4, patience=2)
    losses = [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    over = [Progress({"val_loss": losses[:count]}).is_over(settings) for count in range(1, 7)]
    assert over == [False] * 5 + [True]
    never_thawed = replace(settings, frozen_epochs=20)
    assert Progress({"val_loss": losses[:3]}).is_over(never_thawed)


def test_each_phase_has_its_rate() -> None:
    phases = [phase_after(epochs, SETTINGS) for epochs in range(4)]
    assert [phase.learning_rate for phase in phases] == [0.05, 0.05, 0.02, 0.02]
    assert [(phase.start, phase.end) for phase in phases] == [(0, 2), (0, 2), (2, 4), (2, 4)]
    assert phase_after(0, replace(SETTINGS, fine_tuning_rate=None)).learning_rate == 0.05
    assert phase_after(3, replace(SETTINGS, fine_tuning_rate=None)).learning_rate == 0.05


def test_network_without_a_backbone_is_refused() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")])
    with pytest.raises(BackboneError, match="no layer named 'backbone'"):
        fit(model, rows(), rows(), SETTINGS)


def test_all_layers_but_the_last_are_the_backbone_of_a_network_that_starts_trained() -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(6, name="block1_dense"),
            layers.BatchNormalization(name="block2_normalization"),
            layers.Dense(6, name="block2_dense"),
            layers.Dense(2, activation="softmax", name="probabilities"),
        ]
    )
    states = [own_weights_of(model)]
    fit(
        model, rows(), rows(), replace(SETTINGS, starts_trained=True),
        on_epoch=lambda *_: states.append(own_weights_of(model)),
    )  # fmt: skip
    assert changed(states[0], states[2]) == {"probabilities"}
    assert changed(states[2], states[4]) == {"probabilities", "block2_dense"}
    assert all(layer.trainable for layer in model.layers)


def test_layers_that_are_not_there_are_refused_by_name() -> None:
    settings = replace(SETTINGS, frozen_epochs=0, fine_tuned_layers=("block7",))
    with pytest.raises(BackboneError, match=r"begins with block7; .* block1_dense, .*block2_dense"):
        fit(network(), rows(), rows(), settings)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"schedule": "constant"}, [0.1, 0.1, 0.1, 0.1]),
        ({"schedule": "constant", "warmup": 0.2}, [0.0, 0.05, 0.1, 0.1]),
        ({"schedule": "cosine"}, [0.1, 0.0976, 0.05, 0.0]),
        ({"schedule": "cosine", "warmup": 0.2}, [0.0, 0.05, 0.0691, 0.0]),
        ({"schedule": "one_cycle"}, [0.004, 0.036, 0.0811, 0.0]),
        ({"schedule": "one_cycle", "warmup": 0.5}, [0.004, 0.0232, 0.1, 0.0]),
    ],
)
def test_course_of_the_learning_rate(changes: dict[str, float], expected: list[float]) -> None:
    """At the first step, at a tenth, in the middle and at the end of 100 steps."""
    course = learning_rate_of(PHASE, replace(SETTINGS, **changes), steps=10)
    rates = [float(course(step)) if callable(course) else course for step in (0, 10, 50, 100)]
    assert rates == pytest.approx(expected, abs=1e-4)


def test_a_schedule_of_a_single_step_is_one() -> None:
    settings = replace(SETTINGS, schedule="one_cycle")
    course = learning_rate_of(Phase(0, 1, 0.1, "as_built"), settings, steps=1)
    assert float(course(0)) == pytest.approx(0.1)


def test_weight_decay_shrinks_kernels_and_no_biases() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, activation="softmax")])
    model.set_weights([np.ones((1, 2), np.float32), np.ones(2, np.float32)])
    # nothing to learn: as many rows of each class, and inputs that say nothing
    nothing = np.zeros((8, 1), np.float32), np.arange(8, dtype=np.int32) % 2
    settings = replace(SETTINGS, frozen_epochs=0, fine_tuned_layers=(), fine_tuning_rate=None)
    fit(model, nothing, nothing, replace(settings, epochs=1, batch_size=8, weight_decay=0.5))
    kernel, bias = model.get_weights()
    assert kernel == pytest.approx(np.full((1, 2), 1 - 0.05 * 0.5), abs=1e-4)
    assert bias == pytest.approx(np.ones(2), abs=1e-4)


def test_without_weight_decay_it_is_plain_adam() -> None:
    model = network()
    assert type(optimizer_of(model, PHASE, SETTINGS, 1)) is keras.optimizers.Adam
