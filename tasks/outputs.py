"""Network outputs to predictions, and predictions to the frame that a served model gives.

A copy of this very file ships inside each registered model, so it needs numpy and pandas, and
nothing of ours. Training judges by the same predictions, so both say the same of a row.

Predictions are probabilities float32 [rows, classes]; values float32 [rows]; of the tags of words,
probabilities float32 [rows, words, classes], NaN beyond a text's last word; or of texts that go on,
natural logarithms of each next token's probability float32 [rows, length], NaN where none is next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

ROWS_AT_ONCE = 512
# a network answers for every token with as many numbers as there are tokens: 64 MiB of them
NUMBERS_AT_ONCE = 2**24
# what a word has that belongs to no entity
OUTSIDE = "O"
# no probability is zero, so that no logarithm is infinite
SMALLEST = np.finfo(np.float32).tiny
VALUES = "log_probabilities"


def predict(
    network: Callable[[Any], Any],
    inputs: Any,
    fitted: Mapping[str, Any],
    words: np.ndarray | None = None,
    counts: np.ndarray | None = None,
) -> np.ndarray:
    """What a network predicts for rows, in batches that bound its memory.

    Args:
        network: From a batch of inputs to its outputs: probabilities [rows, classes] or [rows,
            length, classes], or values [rows, 1].
        inputs: [rows, ...].
        fitted: What was fitted on the training rows, with `problem` and `classes`; of texts as
            `tasks.texts` has it.
        words: For the tags of words: the number of the word that begins at each token, int32 [rows,
            length], -1 where none does.
        counts: For the tags of words: the number of words of each text, int [rows].

    Returns:
        Predictions, as described above.
    """
    problem = fitted["problem"]
    parts = [_empty(problem, fitted["classes"])]
    for rows in _batches(len(inputs), problem, fitted):
        batch = np.asarray(inputs[rows])
        outputs = np.asarray(network(batch), np.float32)
        if problem == "token_classification" and words is not None and counts is not None:
            outside = list(fitted["classes"]).index(OUTSIDE)
            parts.append(word_probabilities(outputs, words[rows], counts[rows], outside))
        elif problem == "text_generation":
            parts.append(next_log_probabilities(outputs, next_tokens(batch, fitted)))
        else:
            parts.append(outputs.reshape(len(batch)) if problem == "regression" else outputs)
    return joined(parts)


def word_probabilities(
    outputs: np.ndarray, words: np.ndarray, counts: np.ndarray, outside: int
) -> np.ndarray:
    """The tags of words, by what a network says at the first token of each.

    Args:
        outputs: Probabilities float32 [rows, length, classes].
        words: The number of the word that begins at each token, int32 [rows, length], or -1.
        counts: Words of each text, int [rows].
        outside: The class of a word that a network was not given, since the text was cut before.

    Returns:
        float32 [rows, words, classes]; NaN beyond the last word.
    """
    width, classes = int(counts.max(initial=0)), outputs.shape[-1]
    found = np.full((len(outputs), width, classes), np.nan, np.float32)
    found[np.arange(width) < counts[:, None]] = np.eye(classes, dtype=np.float32)[outside]
    row, token = np.nonzero(words >= 0)
    found[row, words[row, token]] = outputs[row, token]
    return found


def next_tokens(tokens: np.ndarray, fitted: Mapping[str, Any]) -> np.ndarray:
    """What follows at each place of a text, its end included: int32 [rows, length], or -1.

    Args:
        tokens: int32 [rows, length].
        fitted: Gives `start`, `end` and `padding`, of which several can be the same token.
    """
    following = np.full_like(tokens, -1)
    following[:, :-1] = tokens[:, 1:]
    ended = tokens == fitted["end"]
    if fitted["start"] is not None:
        ended[:, 0] = False
    # after the end there is padding only, whichever token that is
    following[np.logical_or.accumulate(ended, axis=1)] = -1
    return following


def next_log_probabilities(outputs: np.ndarray, following: np.ndarray) -> np.ndarray:
    """The natural logarithm of the probability of each next token, NaN where none is next.

    Args:
        outputs: Probabilities of all tokens, float32 [rows, length, tokens].
        following: From `next_tokens`.

    Returns:
        float32 [rows, length].
    """
    place = np.maximum(following, 0)[:, :, None]
    probability = np.take_along_axis(outputs, place, axis=2)[:, :, 0]
    found: np.ndarray = np.log(np.maximum(probability, SMALLEST))
    found[following < 0] = np.nan
    return found


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Predictions of several batches as one; those of shorter texts are filled up with NaN."""
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    width = max(part.shape[1] for part in parts)
    return np.concatenate([widened(part, width) for part in parts])


def widened(predictions: np.ndarray, width: int) -> np.ndarray:
    """Predictions [rows, places, ...] with NaN for the places that they lack up to a width."""
    if predictions.ndim == 1 or predictions.shape[1] >= width:
        return predictions
    missing = (len(predictions), width - predictions.shape[1], *predictions.shape[2:])
    return np.concatenate([predictions, np.full(missing, np.nan, np.float32)], axis=1)


def value_columns(problem: str, classes: Sequence[str]) -> tuple[str, ...]:
    """The columns of a served frame that hold the predictions as numbers."""
    if problem == "text_generation":
        return (VALUES,)
    return tuple(f"probability_{label}" for label in classes) or ("prediction",)


def frame_of(
    problem: str, predictions: np.ndarray, classes: Sequence[str], index: Any = None
) -> pd.DataFrame:
    """What a served model gives: `prediction`, and for classes a `probability_<label>` each.

    Args:
        problem: `classification` or `regression`.
        predictions: Of all rows.
        classes: Labels in the order of the network's outputs; empty for regression.
        index: The rows' own.
    """
    import pandas as pd

    if problem == "regression":
        return pd.DataFrame({"prediction": predictions}, index=index)
    names = list(value_columns(problem, classes))
    frame = pd.DataFrame(predictions, columns=names, index=index)
    labels = np.asarray(classes, dtype=object)[predictions.argmax(axis=1)]
    frame.insert(0, "prediction", labels)
    return frame


def tagged_frame(
    predictions: np.ndarray, classes: Sequence[str], texts: Sequence[str], index: Any = None
) -> pd.DataFrame:
    """What a served model gives for texts whose words are tagged.

    Args:
        predictions: Probabilities [rows, words, classes].
        classes: Tags in the order of the network's outputs.
        texts: The texts of the rows.
        index: The rows' own.

    Returns:
        `prediction`, the tags of the words between spaces, joined by spaces; `entities`, for each
        row a list of those found; and for each tag `probability_<tag>`, a number for each word.
    """
    import pandas as pd

    words = [text.split() for text in texts]
    tags = [[classes[found] for found in row] for row in _most_probable(predictions, words)]
    columns: dict[str, list[Any]] = {
        "prediction": [" ".join(row) for row in tags],
        "entities": [entities_of(*row) for row in zip(words, tags, strict=True)],
    }
    for place, name in enumerate(value_columns("token_classification", classes)):
        columns[name] = [
            values[: len(row), place].tolist()
            for values, row in zip(predictions, words, strict=True)
        ]
    return pd.DataFrame(columns, index=index)


def continued_frame(
    predictions: np.ndarray, continuations: Sequence[str], index: Any = None
) -> pd.DataFrame:
    """What a served model gives for texts that go on.

    Args:
        predictions: Log-probabilities [rows, length].
        continuations: What follows each text.
        index: The rows' own.

    Returns:
        `prediction`, the continuation; and `log_probabilities`, natural, of each token of the text
        itself, as a list.
    """
    import pandas as pd

    values = [row[np.isfinite(row)].tolist() for row in predictions]
    return pd.DataFrame({"prediction": list(continuations), VALUES: values}, index=index)


def entities_of(words: Sequence[str], tags: Sequence[str]) -> list[dict[str, Any]]:
    """The entities in a tagged text: each begins with `B-` and goes on with `I-` of its type.

    An `I-` that continues nothing is no entity, as in the strict scheme IOB2.

    Args:
        words: The words.
        tags: A tag for each.

    Returns:
        `text`, `type`, and the numbers of the `first_word` and the `last_word`, from 0.
    """
    found: list[dict[str, Any]] = []
    open_type = ""
    for place, (word, tag) in enumerate(zip(words, tags, strict=True)):
        position, _, kind = tag.partition("-")
        if position == "B":
            found.append({"text": word, "type": kind, "first_word": place, "last_word": place})
            open_type = kind
        elif position == "I" and kind == open_type:
            found[-1] |= {"text": f"{found[-1]['text']} {word}", "last_word": place}
        else:
            open_type = ""
    return found


def _most_probable(predictions: np.ndarray, words: Sequence[Sequence[str]]) -> Iterator[list[int]]:
    for values, row in zip(predictions, words, strict=True):
        yield values[: len(row)].argmax(axis=1).tolist() if row else []


def _batches(rows: int, problem: str, fitted: Mapping[str, Any]) -> Iterator[slice]:
    size = ROWS_AT_ONCE
    if problem == "text_generation":
        numbers = fitted["length"] * fitted["vocabulary_size"]
        size = int(np.clip(NUMBERS_AT_ONCE // numbers, 1, ROWS_AT_ONCE))
    for start in range(0, rows, size):
        yield slice(start, start + size)


def _empty(problem: str, classes: Sequence[str]) -> np.ndarray:
    """The predictions for no rows."""
    shapes = {"token_classification": (0, 0, len(classes)), "text_generation": (0, 0)}
    plain = (0,) if problem == "regression" else (0, len(classes))
    return np.empty(shapes.get(problem, plain), np.float32)
