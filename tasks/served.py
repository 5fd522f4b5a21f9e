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
                was fitted and what is predicted, JSON), `outputs` (.py), the code that makes
                inputs of rows, `features` or, for texts, `texts` (.py), and for texts that go on
                `generation` (.py); where features were treated to protect people, `treatments` and
                `masking` (.py) as well.
        """
        paths = {name: Path(path) for name, path in context.artifacts.items()}
        self._fitted = json.loads(paths["preprocessing"].read_text())
        self._outputs = _module(paths["outputs"])
        self._inputs = _module(paths["texts" if self._fitted["kind"] == "text" else "features"])
        self._classes: list[str] = self._fitted["classes"]
        if self._fitted.get("treatments"):
            self._treatments, masking = map(_module, (paths["treatments"], paths["masking"]))
            self._mask = masking.mask
        network = _load(paths["network"])
        self._network = _function_of(network)
        if self._fitted["problem"] == "text_generation":
            self._generator = _module(paths["generation"]).Generator(network, self._fitted)

    # MLflow reads these hints, and warns at every load of any but a few types
    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predicts raw rows.

        Args:
            context: Not used; the model was loaded before.
            model_input: A frame with the feature columns of the source, or images uint8 [rows,
                height, width, channels].
            params: For texts that go on `max_new_tokens`, `temperature` and `seed`; else not used.

        Returns:
            `prediction`, the label as in the source, and a `probability_<label>` for each label;
            for regression `prediction` only. For the tags of words `prediction`, the tags joined by
            spaces, the `entities`, and in each `probability_<tag>` a list, a number for each word.
            For texts that go on `prediction`, the continuation, and `log_probabilities`, a list.
        """
        is_frame = isinstance(model_input, pd.DataFrame)
        if is_frame and (treatments := self._fitted.get("treatments")):
            key = self._fitted["privacy_key"]
            model_input = self._treatments.treated(model_input, treatments, self._mask, key)
        frames = []
        for start in range(0, max(len(model_input), 1), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            batch = model_input.iloc[rows] if is_frame else model_input[rows]
            index = batch.index if is_frame else None
            frames.append(self._answered(batch, index, params or {}, start))
        return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=not is_frame)

    def _answered(self, rows: Any, index: Any, params: dict[str, Any], start: int) -> pd.DataFrame:
        """The frame for some raw rows, of which the first is the row `start` of all."""
        problem, outputs, fitted = self._fitted["problem"], self._outputs, self._fitted
        if problem == "token_classification":
            texts = self._inputs.as_texts(rows, fitted["name"])
            tokens, words = self._inputs.encode(texts, fitted)
            counts = np.array([len(text.split()) for text in texts], np.int64)
            found = outputs.predict(self._network, tokens, fitted, words, counts)
            frame: pd.DataFrame = outputs.tagged_frame(found, self._classes, texts, index)
            return frame
        found = outputs.predict(self._network, self._prepared(rows), fitted)
        if problem == "text_generation":
            beginnings = self._inputs.tokenize(rows, fitted)
            # each block has draws of its own
            tokens = self._generator.continuations(beginnings, **params, block=start)
            frame = outputs.continued_frame(found, self._decoded(tokens), index)
        else:
            frame = outputs.frame_of(problem, found, self._classes, index)
        return frame

    def _prepared(self, rows: Any) -> Any:
        """Raw rows as the network's inputs."""
        if self._fitted["kind"] == "image":
            return self._inputs.transform_images(rows, self._fitted)
        return self._inputs.transform(rows, self._fitted)

    def _decoded(self, tokens: list[list[int]]) -> list[str]:
        return [self._inputs.decode([row], self._fitted)[0] for row in tokens]


def _load(path: Path) -> Any:
    """A stored network: of Keras, or a session of ONNX Runtime."""
    if path.suffix == ".onnx":
        import onnxruntime

        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    import keras

    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _function_of(network: Any) -> Callable[[Any], Any]:
    """A network as a function from inputs to outputs.

    A Keras model is called as a function: `keras.Model.predict` takes tens of milliseconds to set
    up, for a single row as well.
    """
    if hasattr(network, "get_inputs"):
        (given,), wanted = network.get_inputs(), network.get_outputs()[-1].name
        return lambda inputs: network.run([wanted], {given.name: inputs})[0]
    import keras

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
