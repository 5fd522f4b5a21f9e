"""The phases of a training: which layers are trained, by which learning rate.

A pretrained network is trained as Keras's guide to transfer learning says
(https://keras.io/guides/transfer_learning/): first what is new, with the backbone frozen, then
the backbone as well, at a low learning rate, its batch normalisation still in inference mode.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import keras

from tasks.fitting.settings import FitSettings

BACKBONE = "backbone"
# of the steps over which `one_cycle` rises, and how much lower it begins: the defaults of PyTorch's
# OneCycleLR and of fastai, after Smith and Topin (https://arxiv.org/abs/1708.07120)
ONE_CYCLE_RISE, ONE_CYCLE_DIVISOR = 0.3, 25.0
# one-dimensional where a layer is plain; a transformer's have a dimension for its heads
NOT_DECAYED = ("bias", "gamma", "beta", "scale")
NAMES_SHOWN = 8


class BackboneError(ValueError):
    """There is no backbone, or it has no layers of that name."""


@dataclass(frozen=True)
class Phase:
    """Some of the epochs.

    Args:
        start: Epochs done before it.
        end: Epochs done after it.
        learning_rate: The largest of its schedule.
        backbone: `as_built`, `frozen`, or `fine_tuned`.
    """

    start: int
    end: int
    learning_rate: float
    backbone: Literal["as_built", "frozen", "fine_tuned"]


def phase_after(epochs: int, settings: FitSettings) -> Phase:
    """The phase that the next epoch belongs to, when so many are done."""
    frozen = min(settings.frozen_epochs, settings.epochs)
    if epochs < frozen:
        return Phase(0, frozen, settings.learning_rate, "frozen")
    rate = settings.fine_tuning_rate or settings.learning_rate
    is_tuned = frozen > 0 or settings.fine_tuned_layers
    return Phase(frozen, settings.epochs, rate, "fine_tuned" if is_tuned else "as_built")


def set_trained_layers(network: keras.Model, phase: Phase, settings: FitSettings) -> None:
    """Freezes what is not trained in a phase; takes effect when the model is compiled.

    Raises:
        BackboneError: There is no backbone, or no layer in it that is to be fine-tuned.
    """
    if phase.backbone == "as_built":
        return
    backbone = _backbone(network, settings)
    for layer in backbone:
        layer.trainable = phase.backbone == "fine_tuned"
    if phase.backbone == "frozen":
        return
    beginnings = settings.fine_tuned_layers
    layers = [layer for layer in backbone if layer.weights]
    chosen = [layer for layer in layers if layer.name.startswith(beginnings or "")]
    if not chosen:
        names = ", ".join(layer.name for layer in layers[-NAMES_SHOWN:])
        raise BackboneError(
            f"no layer of the backbone begins with {' or '.join(beginnings)}; its last ones are "
            f"{names}"
        )
    for layer in layers:
        layer.trainable = layer in chosen
    for layer in [*backbone, *(inner for outer in backbone for inner in _all_layers(outer))]:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _backbone(network: keras.Model, settings: FitSettings) -> list[keras.Layer]:
    """The layers that know the rows and not the answer.

    Raises:
        BackboneError: None is named so, and the network does not start from trained weights.
    """
    named = next((layer for layer in network.layers if layer.name == BACKBONE), None)
    if named is not None:
        named.trainable = True
        return list(named.layers)
    if not settings.starts_trained:
        raise BackboneError(f"the network has no layer named {BACKBONE!r}")
    *known, _ = [layer for layer in network.layers if layer.weights]
    return known


@contextlib.contextmanager
def trained_layers_kept(network: keras.Model) -> Iterator[None]:
    """While it lasts, layers may be frozen and unfrozen; then each is as it was."""
    before = [(layer, layer.trainable) for layer in _all_layers(network)]
    try:
        yield
    finally:
        # outer layers come first, as each sets all of those within it
        for layer, was_trained in before:
            if layer.trainable != was_trained:
                layer.trainable = was_trained


def optimizer_of(
    model: keras.Model, phase: Phase, settings: FitSettings, steps: int
) -> keras.optimizers.Optimizer:
    """Adam, or AdamW, with the learning rate's course; built for what the model trains.

    Args:
        model: With the layers of the phase to be trained.
        phase: The phase.
        settings: How to train.
        steps: Steps of an epoch.
    """
    rate = learning_rate_of(phase, settings, steps)
    if settings.weight_decay:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
        optimizer.exclude_from_weight_decay(
            var_list=[
                variable
                for variable in model.trainable_variables
                if len(variable.shape) <= 1 or variable.name in NOT_DECAYED
            ]
        )
    else:
        optimizer = keras.optimizers.Adam(rate)
    optimizer.build(model.trainable_variables)
    return optimizer


def learning_rate_of(phase: Phase, settings: FitSettings, steps: int) -> Any:
    """The learning rate of a phase: a number, or a schedule over its steps.

    It follows from the optimizer's own count of steps, so a training that goes on from a checkpoint
    goes on in its schedule as well.
    """
    total = steps * (phase.end - phase.start)
    is_cycle = settings.schedule == "one_cycle"
    share = settings.warmup or (ONE_CYCLE_RISE if is_cycle else 0.0)
    rise = min(round(share * total), total - 1)
    course = keras.optimizers.schedules.CosineDecay
    floor = 1.0 if settings.schedule == "constant" else 0.0
    if rise:
        start = phase.learning_rate / ONE_CYCLE_DIVISOR if is_cycle else 0.0
        return course(
            start, total - rise, alpha=floor, warmup_target=phase.learning_rate, warmup_steps=rise
        )
    return phase.learning_rate if floor else course(phase.learning_rate, total)


def _all_layers(layer: keras.Layer) -> Iterator[keras.Layer]:
    """The layers within a layer, from the outside in."""
    for inner in getattr(layer, "layers", ()):
        yield inner
        yield from _all_layers(inner)
