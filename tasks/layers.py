"""Inside a trained network: what its layers give, and what it says if one gave something else.

The call of a layer is replaced while a network is asked. So the same few lines reach into any
architecture, also into a backbone inside of it, and on TensorFlow as on JAX.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

# what `tasks.models` and KerasHub name the layer that looks tokens up
EMBEDDINGS = ("embedding", "token_embedding")
IMAGE_RANK = 4


def activations(network: "keras.Model", inputs: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """What each layer gives for one row, in the order of the layers.

    Args:
        network: From `tasks.models.archive.open_network`.
        inputs: One row, [1, ...].

    Returns:
        Per layer an array without the dimension of rows; one inside another network has its name
        before its own. Layers that give no numbers are left out.
    """
    layers = dict(_layers(network))
    outputs = layer_outputs(network, inputs, list(layers.values()))
    return {
        name: found[0]
        for name, found in zip(layers, outputs, strict=True)
        if found.ndim > 1 and len(found) == 1
    }


def entry_layer(network: "keras.Model", inputs: NDArray[Any]) -> Any:
    """The layer whose outputs are the first that a gradient reaches.

    Of texts the one that looks the tokens up, of images the one that rescales the pixels.

    Args:
        network: The network.
        inputs: Rows as it takes them; tells texts, which are [rows, length], from images.
    """
    layers = [layer for _, layer in _layers(network)]
    if inputs.ndim == IMAGE_RANK:
        return layers[0]
    named = [layer for layer in layers if layer.name in EMBEDDINGS]
    return (named or [layer for layer in layers if "Embedding" in type(layer).__name__])[0]


def last_convolution(network: Any, inputs: NDArray[Any]) -> Any:
    """The last layer whose outputs are those of the last convolution, normalised and rectified."""
    layers = [layer for _, layer in _layers(network)]
    places = [n for n, layer in enumerate(layers) if type(layer).__name__ == "Conv2D"]
    if not places:
        return None
    following = layers[places[-1] :]
    shapes = [found.shape for found in layer_outputs(network, inputs[:1], following)]
    same = [layer for layer, shape in zip(following, shapes, strict=True) if shape == shapes[0]]
    return same[-1]


def layer_outputs(
    network: "keras.Model", inputs: NDArray[Any], layers: Sequence[Any]
) -> list[NDArray[np.float32]]:
    """What layers give for rows, float32 [rows, ...] each; empty for one that was not called."""
    found: dict[int, NDArray[np.float32]] = {}

    def recording(place: int, call: Callable[..., Any]) -> Callable[..., Any]:
        def record(*args: Any, **kwargs: Any) -> Any:
            given = call(*args, **kwargs)
            if hasattr(given, "shape") and place not in found:
                found[place] = as_numbers(given)
            return given

        return record

    with contextlib.ExitStack() as stack:
        for place, layer in enumerate(layers):
            stack.enter_context(replaced(layer, recording(place, layer.call)))
        network(inputs, training=False)
    nothing = np.empty(0, np.float32)
    return [found.get(place, nothing) for place in range(len(layers))]


@contextlib.contextmanager
def replaced(layer: Any, call: Callable[..., Any]) -> Iterator[None]:
    """While it lasts, the layer gives what `call` does; one that is used reversed does so still."""
    own = layer.call

    def chosen(*args: Any, **kwargs: Any) -> Any:
        # GPT-2's last layer is its embedding, turned round
        return own(*args, **kwargs) if kwargs.get("reverse") else call(*args, **kwargs)

    layer.call = chosen
    try:
        yield
    finally:
        layer.call = own


@contextlib.contextmanager
def without_softmax(network: Any) -> Iterator[None]:
    """While it lasts, a network whose last layer ends in a softmax gives the scores before it."""
    import keras

    last = network.layers[-1]
    own = getattr(last, "activation", None)
    if own is not keras.activations.softmax:
        yield
        return
    last.activation = keras.activations.linear
    try:
        yield
    finally:
        last.activation = own


def compiled(network: "keras.Model") -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """A network as a function that is asked hundreds of times, many times faster for small ones.

    Args:
        network: From `tasks.models.archive.open_network`; its rows are of a table.
    """
    import keras

    def call(inputs: Any) -> Any:
        return network(inputs, training=False)

    if keras.config.backend() == "jax":
        import jax

        traced = jax.jit(call)
    else:
        import tensorflow as tf

        width = network.input_shape[1:]
        traced = tf.function(call, input_signature=[tf.TensorSpec((None, *width), tf.float32)])
    return lambda inputs: as_numbers(traced(inputs))


def as_numbers(tensor: Any) -> NDArray[np.float32]:
    """A backend's tensor as an array of NumPy's."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float32)


def _layers(network: Any, within: str = "") -> Iterator[tuple[str, Any]]:
    """The layers by name, those of networks inside of it in the place where they stand."""
    for layer in network.layers:
        name = f"{within}{layer.name}"
        if hasattr(layer, "layers"):
            yield from _layers(layer, f"{name}/")
        elif type(layer).__name__ != "InputLayer":
            yield name, layer
