"""Network outputs to predictions, and predictions to the frame that a served model gives.

A copy of this very file ships inside each registered model, so it needs numpy and pandas, and
nothing of ours. Training judges by the same predictions, so both say the same of a row.

Predictions are probabilities float32 [rows, classes], or values float32 [rows].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def predictions_of(problem: str, outputs: Any) -> np.ndarray:
    """The predictions in what a network gave for a batch.

    Args:
        problem: What is predicted, as in `tasks.handoffs.Problem`.
        outputs: Probabilities [rows, classes] or values [rows, 1].
    """
    values = np.asarray(outputs, dtype=np.float32)
    return values.reshape(len(values)) if problem == "regression" else values


def empty_predictions(problem: str, classes: Sequence[str]) -> np.ndarray:
    """The predictions for no rows."""
    return np.empty((0,) if problem == "regression" else (0, len(classes)), np.float32)


def frame_of(
    problem: str, predictions: np.ndarray, classes: Sequence[str], index: Any = None
) -> pd.DataFrame:
    """What a served model gives: `prediction`, and for classes a `probability_<label>` each.

    Args:
        problem: What is predicted.
        predictions: Of all rows.
        classes: Labels in the order of the network's outputs; empty for regression.
        index: The rows' own.
    """
    import pandas as pd

    if problem == "regression":
        return pd.DataFrame({"prediction": predictions}, index=index)
    names = [f"probability_{label}" for label in classes]
    frame = pd.DataFrame(predictions, columns=names, index=index)
    labels = np.asarray(classes, dtype=object)[predictions.argmax(axis=1)]
    frame.insert(0, "prediction", labels)
    return frame
