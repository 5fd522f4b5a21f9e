"""The code inside every package: raw rows in, predictions out. It imports nothing of Roundhouse.

MLflow runs this file wherever the model is loaded (models from code), so nothing is ever unpickled:
the network is a `.keras` file, what was fitted is JSON, and the feature code is a file beside them.
"""

import importlib.util
import json
import uuid
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
            context: Its `artifacts` are paths: `network` (.keras), `features` (.py),
                `preprocessing` (what was fitted) and `contents` (what is predicted; both JSON).
        """
        import keras

        paths = {name: Path(path) for name, path in context.artifacts.items()}
        self._network = keras.saving.load_model(paths["network"], compile=False, safe_mode=True)
        self._features = _module(paths["features"])
        self._fitted = json.loads(paths["preprocessing"].read_text())
        contents = json.loads(paths["contents"].read_text())
        self._classes: list[str] = contents["classes"]
        self._is_image: bool = contents["is_image"]

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
        rows = len(model_input)
        index = None if self._is_image else model_input.index
        outputs = [
            self._outputs(
                model_input[start : start + ROWS_AT_ONCE]
                if self._is_image
                else model_input.iloc[start : start + ROWS_AT_ONCE]
            )
            for start in range(0, rows, ROWS_AT_ONCE)
        ]
        width = len(self._classes) or 1
        values = np.concatenate([np.empty((0, width), np.float32), *outputs])
        if not self._classes:
            return pd.DataFrame({"prediction": values[:, 0]}, index=index)
        names = [f"probability_{label}" for label in self._classes]
        frame = pd.DataFrame(values, columns=names, index=index)
        labels = np.asarray(self._classes, dtype=object)[values.argmax(axis=1)]
        frame.insert(0, "prediction", labels)
        return frame

    def _outputs(self, rows: Any) -> Any:
        """What the network gives for a batch, float32 [rows, classes or 1].

        The network is called as a function: `keras.Model.predict` takes tens of milliseconds to
        set up, for a single row as well.
        """
        import keras

        transform = self._features.transform_images if self._is_image else self._features.transform
        inputs = transform(rows, self._fitted)
        outputs = keras.ops.convert_to_numpy(self._network(inputs, training=False))
        return np.asarray(outputs, dtype=np.float32).reshape(len(rows), -1)


def _module(path: Path) -> ModuleType:
    """The feature code under a name of its own, so that two versions live in one process."""
    spec = importlib.util.spec_from_file_location(f"features_{uuid.uuid4().hex}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file; package the model again.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mlflow.models.set_model(ServedModel())
