"""Which rows are explained: the mistakes a model was surest of, and a few others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tasks.handoffs import Problem
from tasks.outputs import OUTSIDE, widened

SEED = 0


@dataclass(frozen=True)
class Choice:
    """A row that is explained.

    Args:
        index: Its place among the rows that were chosen from.
        chosen: Why it is.
        place: Of a text with an answer for each word or token, the number of the one that is
            explained, from 0; else 0.
    """

    index: int
    chosen: Literal["mistake", "random", "asked for"]
    place: int = 0


def choose_rows(
    problem: Problem,
    truth: NDArray[Any],
    predictions: NDArray[np.float32],
    classes: Sequence[str],
    mistakes: int,
    others: int,
    seen: NDArray[np.int64] | None = None,
) -> tuple[Choice, ...]:
    """The most confident mistakes, the worst first, and then some of the other rows.

    A mistake is a wrong class, for tags of words a word with a wrong tag; of values, and of the
    next tokens of texts, it is the largest error, and the least expected token.

    Args:
        problem: What is predicted.
        truth: As `tasks.metrics.measure` takes it.
        predictions: As `tasks.outputs` describes them.
        classes: The labels in the order of their indices.
        mistakes: How many at most.
        others: How many others; the same ones each time for the same number of rows.
        seen: For tags of words: how many words of each text the model was given, int [rows].
    """
    wrongness, places = _wrongness(problem, truth, predictions, seen)
    wrong = np.flatnonzero(wrongness > 0)
    worst = wrong[np.argsort(-wrongness[wrong], kind="stable")][:mistakes]
    known = np.flatnonzero(~np.isnan(wrongness))
    left = np.setdiff1d(known, worst)
    random = np.random.default_rng(SEED).choice(left, min(others, len(left)), replace=False)
    return (
        *(Choice(int(row), "mistake", int(places[row])) for row in worst),
        *(
            Choice(int(row), "random", place_of(problem, predictions[row], classes))
            for row in np.sort(random)
        ),
    )


def place_of(problem: Problem, prediction: NDArray[np.float32], classes: Sequence[str]) -> int:
    """The word or token of a row that is explained where there is no mistake to explain.

    Of tags the word that is least likely to be outside of all entities, of a text that goes on the
    last token; else 0.

    Args:
        problem: What is predicted.
        prediction: Of the row, as `tasks.outputs` describes it.
        classes: The labels in the order of their indices.
    """
    if problem == "token_classification":
        outside = prediction[:, list(classes).index(OUTSIDE)]
        return 0 if np.isnan(outside).all() else int(np.nanargmin(outside))
    if problem == "text_generation":
        (known,) = np.nonzero(np.isfinite(prediction))
        return int(known[-1]) if len(known) else 0
    return 0


def _wrongness(
    problem: Problem,
    truth: NDArray[Any],
    predictions: NDArray[np.float32],
    seen: NDArray[np.int64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How wrong each row is, 0 for right and NaN where nothing was predicted, and where in it."""
    rows = np.arange(len(truth))
    if problem == "regression":
        return np.abs(predictions - truth.astype(np.float64)), np.zeros(len(truth), np.int64)
    if problem == "classification":
        is_wrong = predictions.argmax(axis=1) != truth
        return predictions.max(axis=1) * is_wrong, np.zeros(len(truth), np.int64)
    if problem == "token_classification":
        words = np.arange(truth.shape[1])
        is_word = truth >= 0
        if seen is not None:
            is_word &= words < seen[:, None]
        found = np.nan_to_num(widened(predictions, truth.shape[1])[:, : truth.shape[1]])
        each = np.where(is_word, found.max(axis=2) * (found.argmax(axis=2) != truth), np.nan)
    else:
        each = np.where(np.isfinite(predictions), -predictions.astype(np.float64), np.nan)
    places = np.nan_to_num(each, nan=-1.0).argmax(axis=1)
    return each[rows, places], places
