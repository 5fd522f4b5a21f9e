"""The model code of the plain script."""

import json
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd


class Digits(mlflow.pyfunc.PythonModel):
    def load_context(self, context: Any) -> None:
        self.network = keras.saving.load_model(context.artifacts["network"], compile=False)
        self.classes = json.loads(Path(context.artifacts["contents"]).read_text())["classes"]

    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> pd.DataFrame:
        values = np.asarray(self.network(model_input))
        frame = pd.DataFrame(values, columns=[f"probability_{name}" for name in self.classes])
        frame.insert(0, "prediction", [self.classes[index] for index in values.argmax(1)])
        return frame


mlflow.models.set_model(Digits())
