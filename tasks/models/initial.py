"""A network that starts from another's weights: all of them, or all but those of the answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tasks.errors import ConfigError
from tasks.models.ends import HEAD

if TYPE_CHECKING:
    import keras

Part = Literal["whole", "backbone"]
LAYERS_SHOWN = 3


def start_from(network: "keras.Model", path: Path, part: Part, name: str) -> None:
    """Gives a network the weights of a stored one, layer by layer, by the layers' names.

    Args:
        network: A built network; it is changed only if all layers fit.
        path: The `.keras` file of the other.
        part: `whole`, or `backbone` for all layers but those that give the answer, which keep
            their fresh weights.
        name: How messages call the other, such as `models:/digits/3`.

    Raises:
        ConfigError: Their layers, or the shapes of their weights, are not the same.
    """
    import keras

    source = keras.saving.load_model(path, compile=False, safe_mode=True)
    given, wanted = _layers(source, part), _layers(network, part)
    if unfit := _differences(given, wanted):
        more = f" and {len(unfit) - LAYERS_SHOWN} more" if len(unfit) > LAYERS_SHOWN else ""
        others = "" if part == "backbone" or _differences(
            _layers(source, "backbone"), _layers(network, "backbone")
        ) else " The other layers fit: --set model.initial_part=backbone."  # fmt: skip
        raise ConfigError(
            f"The network of {name} does not fit the one that is to start from it: "
            f"{'; '.join(unfit[:LAYERS_SHOWN])}{more}. Expected the same layers, with weights of "
            f"the same shapes. Use the model.* and the data of that version, or leave "
            f"model.initial_weights out.{others}"
        )
    for layer_name, layer in wanted.items():
        layer.set_weights(given[layer_name].get_weights())


def _layers(network: "keras.Model", part: Part) -> "dict[str, keras.layers.Layer]":
    """The layers that have weights, by name."""
    return {
        layer.name: layer
        for layer in network.layers
        if layer.weights and not (part == "backbone" and layer.name in HEAD)
    }


def _differences(
    given: "dict[str, keras.layers.Layer]", wanted: "dict[str, keras.layers.Layer]"
) -> list[str]:
    """A few words for each layer that is in one only, or has other shapes."""
    found = []
    for name in [*wanted, *(name for name in given if name not in wanted)]:
        came, needed = (_shapes(layers.get(name)) for layers in (given, wanted))
        if came != needed:
            found.append(f"the layer {name!r} has {came} there and {needed} here")
    return found


def _shapes(layer: "keras.layers.Layer | None") -> str:
    if layer is None:
        return "no weights"
    sizes = [tuple(weight.shape) for weight in layer.weights]
    return " and ".join(" x ".join(map(str, size)) or "1" for size in sizes)
