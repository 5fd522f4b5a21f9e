"""A network as one file, and as text."""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

# the earliest date a zip can hold; when a file was written is no part of what was trained
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
# the dtype policy of layers, and what their casts are to
MIXED = ("mixed_bfloat16", "bfloat16")


def save_network(model: "keras.Model", path: Path) -> None:
    """Saves a network without its optimizer; the same weights give the same bytes.

    What is saved computes in float32, whatever it was trained in, as its weights are float32: a CPU
    that serves it may have no bfloat16, and neither ONNX Runtime nor LiteRT takes any.

    Args:
        model: A model of Keras's own layers.
        path: The `.keras` file to write.
    """
    network = type(model).from_config(_in_float32(model.get_config()))
    network.set_weights(model.get_weights())
    saved = path.with_suffix(".saved.keras")
    network.save(saved)
    write_parts(parts_of(saved), path)
    saved.unlink()


def parts_of(path: Path) -> dict[str, bytes]:
    """The parts of a `.keras` file by name, in order, without when and where it was written."""
    with zipfile.ZipFile(path) as source:
        parts = {name: source.read(name) for name in sorted(source.namelist())}
    metadata = json.loads(parts["metadata.json"]) | {"date_saved": "1980-01-01@00:00:00"}
    config = _without_addresses(json.loads(parts["config.json"]), {})
    made_anew = {"metadata.json": metadata, "config.json": config}
    return parts | {name: json.dumps(part).encode() for name, part in made_anew.items()}


def write_parts(
    parts: Mapping[str, bytes], path: Path, compression: int = zipfile.ZIP_STORED
) -> None:
    """Writes files by their names into a zip; the same parts give the same bytes."""
    with zipfile.ZipFile(path, "w") as target:
        for name, content in parts.items():
            target.writestr(zipfile.ZipInfo(name, ZIP_DATE), content, compression)


def _in_float32(value: Any) -> Any:
    """A configuration whose layers and casts in mixed precision are in float32."""
    if isinstance(value, dict):
        return {key: _in_float32(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_in_float32(part) for part in value]
    return "float32" if isinstance(value, str) and value in MIXED else value


def _without_addresses(value: Any, numbers: dict[int, int]) -> Any:
    """A configuration in which shared objects have numbers in the place of memory addresses.

    Args:
        value: A part of what Keras serialises.
        numbers: The number of each address so far; it is added to.
    """
    if isinstance(value, dict):
        return {
            key: numbers.setdefault(part, len(numbers) + 1)
            if key == "shared_object_id"
            else _without_addresses(part, numbers)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [_without_addresses(part, numbers) for part in value]
    return value


def summary_of(model: "keras.Model") -> str:
    """Layers, shapes and parameters, as text; Keras's own would be cut at the terminal's width."""
    lines = [f"{'layer':<20}{'type':<16}{'output':<22}{'parameters':>12}"]
    for layer in model.layers:
        shape = " x ".join(str(size) for size in layer.output.shape[1:])
        kind, parameters = type(layer).__name__, layer.count_params()
        lines.append(f"{layer.name:<20}{kind:<16}{shape:<22}{parameters:>12,}")
    lines.append(f"{'total':<58}{model.count_params():>12,}")
    return "\n".join(lines)


def load_network(path: Path) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """A stored network as a function from a batch of inputs to its outputs, without dropout.

    Args:
        path: A `.keras` file, or the `.onnx` file of another estimator.
    """
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (given,), wanted = session.get_inputs(), session.get_outputs()[-1].name
        return lambda inputs: np.asarray(session.run([wanted], {given.name: inputs})[0], np.float32)
    return function_of(open_network(path))


def function_of(network: "keras.Model") -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """A network as a function from a batch of inputs to its outputs, without dropout."""
    import keras

    def call(inputs: NDArray[Any]) -> NDArray[np.float32]:
        outputs = keras.ops.convert_to_numpy(network(inputs, training=False))
        return np.asarray(outputs, np.float32)

    return call


def open_network(path: Path) -> "keras.Model":
    """A stored network itself.

    Args:
        path: A `.keras` file.
    """
    import keras

    return keras.saving.load_model(path, compile=False, safe_mode=True)
