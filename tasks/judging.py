"""The rows that a model is judged by, and what it predicts for them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import outputs, texts
from tasks.handoffs import Arrays, PreparedData
from tasks.snapshots import texts_of
from tasks.storage import Storage


@dataclass(frozen=True)
class JudgedRows:
    """The rows of one side of the split.

    Args:
        inputs: [rows, ...], still on the disk.
        truth: What predictions are compared with: class indices or targets [rows], class indices
            of words [rows, words], or next tokens [rows, length].
        texts: The raw texts, where the feature is one; else empty.
        fitted: What was fitted on the training rows.
    """

    inputs: NDArray[Any]
    truth: NDArray[Any]
    texts: list[str]
    fitted: Mapping[str, Any]


def open_rows(storage: Storage, prepared: PreparedData, side: Arrays) -> JudgedRows:
    """The rows of a side of prepared data.

    Args:
        storage: Where they are.
        prepared: All of it.
        side: Its `test`, to judge a model; its `validation`, to choose among models.
    """
    rows = storage.array(side.rows)
    return JudgedRows(
        inputs=storage.array(side.inputs, is_mapped=True),
        truth=storage.array(side.judged_by),
        texts=texts_of(storage, prepared.snapshot, rows) if prepared.kind == "text" else [],
        fitted=json.loads(storage.read_bytes(prepared.preprocessing)),
    )


def predict(network: Any, rows: JudgedRows) -> NDArray[np.float32]:
    """What a network predicts for rows.

    Args:
        network: From `tasks.models.archive.load_network`.
        rows: The rows.

    Returns:
        Predictions as `tasks.outputs` describes them.
    """
    if rows.fitted["problem"] != "token_classification":
        return outputs.predict(network, rows.inputs, rows.fitted)
    _, words = texts.encode(rows.texts, rows.fitted)
    counts = np.array([len(text.split()) for text in rows.texts])
    return outputs.predict(network, rows.inputs, rows.fitted, words, counts)
