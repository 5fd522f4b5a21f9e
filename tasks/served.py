"""The code inside every package: raw rows in, predictions out. It imports nothing of Roundhouse.

MLflow runs this file wherever the model is loaded (models from code), so nothing is ever unpickled:
the network is a `.keras` or `.onnx` file, what was fitted is JSON, and the code that prepares rows
and reads outputs is files beside them.
"""

import importlib.util
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow
import numpy as np
import pandas as pd

ROWS_AT_ONCE = 512


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow ships no types
    """A trained network with its own preprocessing, as an MLflow model."""

    def load_context(self, context: Any) -> None:
        """Loads the network and what it needs.

        Args:
            context: Its `artifacts` are paths: `network` (.keras or .onnx), `preprocessing` (what
                was fitted and what is predicted, JSON), `outputs` (.py), and the code that makes
                inputs of rows, `features` or, for texts, `texts` (.py).
        """
        paths = {name: Path(path) for name, path in context.artifacts.items()}
        self._network = _load(paths["network"])
        self._fitted = json.loads(paths["preprocessing"].read_text())
        self._outputs = _module(paths["outputs"])
        self._inputs = _module(paths["texts" if self._fitted["kind"] == "text" else "features"])
        self._classes: list[str] = self._fitted["classes"]

    # MLflow reads these hints, and warns at every load of any but a few types
    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predicts raw rows.

        Args:
            context: Not used; the model was loaded before.
            model_input: A frame with the feature columns of the source, or images uint8 [rows,
                height, width, channels].
            params: Not used.

        Returns:
            `prediction`, the label as in the source, and a `probability_<label>` for each label;
            for regression `prediction` only.
        """
        problem, is_frame = self._fitted["problem"], isinstance(model_input, pd.DataFrame)
        predictions = [self._outputs.empty_predictions(problem, self._classes)]
        for start in range(0, len(model_input), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            batch = model_input.iloc[rows] if is_frame else model_input[rows]
            outputs = self._network(self._prepared(batch))
            predictions.append(self._outputs.predictions_of(problem, outputs))
        index = model_input.index if is_frame else None
        values = np.concatenate(predictions)
        frame: pd.DataFrame = self._outputs.frame_of(problem, values, self._classes, index)
        return frame

    def _prepared(self, rows: Any) -> Any:
        """Raw rows as the network's inputs."""
        if self._fitted["kind"] == "image":
            return self._inputs.transform_images(rows, self._fitted)
        return self._inputs.transform(rows, self._fitted)


def _load(path: Path) -> Callable[[Any], Any]:
    """A stored network as a function from inputs to outputs.

    A Keras model is called as a function: `keras.Model.predict` takes tens of milliseconds to set
    up, for a single row as well.
    """
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (given,), wanted = session.get_inputs(), session.get_outputs()[-1].name
        return lambda inputs: session.run([wanted], {given.name: inputs})[0]
    import keras

    network = keras.saving.load_model(path, compile=False, safe_mode=True)
    return lambda inputs: keras.ops.convert_to_numpy(network(inputs, training=False))


def _module(path: Path) -> ModuleType:
    """Code under a name of its own, so that two versions live in one process."""
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{uuid.uuid4().hex}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file; package the model again.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mlflow.models.set_model(ServedModel())
