"""Which test rows are explained, with what is needed to name their parts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import texts
from tasks.config import ExplanationConfig
from tasks.explained_rows import Choice, choose_rows
from tasks.explaining import Asked
from tasks.handoffs import PreparedData
from tasks.judging import JudgedRows
from tasks.raw_rows import raw_values
from tasks.storage import Storage

SEED = 0


def ask_test_rows(
    storage: Storage,
    prepared: PreparedData,
    tested: JudgedRows,
    predictions: NDArray[np.float32],
    config: ExplanationConfig,
) -> Asked:
    """The most confident mistakes, and some other test rows.

    Args:
        storage: Holds the snapshot.
        prepared: All of the data.
        tested: Its test rows.
        predictions: For them, as `tasks.outputs` describes them.
        config: How many of each.
    """
    problem, classes = prepared.snapshot.problem, prepared.classes
    words = texts.encode(tested.texts, tested.fitted)[1] if classes and tested.texts else None
    choices = choose_rows(
        problem, tested.truth, predictions, classes, config.mistakes, config.random_rows,
        None if words is None else words.max(axis=1) + 1,
    )  # fmt: skip
    rows = np.array([choice.index for choice in choices], np.int64)
    numbers = storage.array(prepared.test.rows)[rows]
    is_table = prepared.kind == "table"
    return Asked(
        inputs=np.asarray(tested.inputs[rows]),
        choices=choices,
        numbers=numbers.tolist(),
        truths=[_truth(prepared, tested.truth[choice.index], choice) for choice in choices],
        values=raw_values(storage, prepared.snapshot, numbers) if is_table else (),
        words=None if words is None else words[rows],
        personal=frozenset(column.name for column in prepared.snapshot.columns if column.personal),
    )


def _truth(prepared: PreparedData, truth: Any, choice: Choice) -> str:
    """What is true of a row, as in the source; of texts that go on, the tokens say it."""
    match prepared.snapshot.problem:
        case "classification":
            return prepared.classes[int(truth)]
        case "regression":
            return f"{float(truth):.6g}"
        case "token_classification":
            return prepared.classes[int(truth[choice.place])]
        case _:
            return ""


def some_rows(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """At most so many of the rows, in their order; the same ones each time."""
    chosen = np.random.default_rng(SEED).choice(len(rows), min(count, len(rows)), replace=False)
    return np.asarray(rows[np.sort(chosen)])
