"""A form as a function from a batch of prepared rows to outputs, by the form's own runtime."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.appraisal_config import ExportFormat
from tasks.conversion.converters import OUTPUT
from tasks.models.archive import load_network

Network = Callable[[NDArray[Any]], NDArray[np.float32]]


def open_form(path: Path, kind: ExportFormat) -> Network:
    """Opens a form as its users will: with nothing of what made it.

    Args:
        path: The file, or the folder of a SavedModel.
        kind: Its format; Keras opens `keras`, ONNX Runtime `onnx`, LiteRT's interpreter `litert`,
            and TensorFlow `saved_model`.
    """
    if kind == "litert":
        return _open_litert(path)
    return _SavedModel(path) if kind == "saved_model" else load_network(path)


def _open_litert(path: Path) -> Network:
    from ai_edge_litert.interpreter import Interpreter

    # of what is meant for phones, one thread is measured
    run = Interpreter(model_path=str(path), num_threads=1).get_signature_runner()
    ((name, row),) = run.get_input_details().items()
    takes_one_row = row["shape_signature"][0] == 1

    def call(inputs: NDArray[Any]) -> NDArray[np.float32]:
        count = 1 if takes_one_row else len(inputs)
        parts = [
            next(iter(run(**{name: inputs[start : start + count]}).values()))
            for start in range(0, len(inputs), max(count, 1))
        ]
        return np.concatenate(parts).astype(np.float32, copy=False)

    return call


class _SavedModel:
    """A SavedModel's function for serving, and the module, without which its weights are gone."""

    def __init__(self, path: Path) -> None:
        import tensorflow as tf

        self._module = tf.saved_model.load(str(path))
        self._serve = self._module.signatures["serving_default"]
        ((self._name, _),) = self._serve.structured_input_signature[1].items()

    def __call__(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        import tensorflow as tf

        return np.asarray(self._serve(**{self._name: tf.constant(inputs)})[OUTPUT], np.float32)
