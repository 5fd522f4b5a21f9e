"""Plain models of sequences: the tags of words, and tokens that follow each other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def tag_predictions(
    train_words: Sequence[Sequence[str]],
    train_tags: NDArray[np.int32],
    test_words: Sequence[Sequence[str]],
    classes: int,
) -> dict[str, NDArray[np.float32]]:
    """The tags of words by what the training words had.

    Args:
        train_words: The words of each training text.
        train_tags: Their class indices, int32 [rows, words], -1 beyond the last.
        test_words: The words of each test text.
        classes: Number of tags.

    Returns:
        Probabilities [rows, words, classes], NaN beyond the last word: `majority`, for each word
        the most frequent tag of all, and `lookup`, the most frequent tag of that very word, or of
        all for one that is new.
    """
    counts: dict[str, NDArray[np.int64]] = {}
    total = np.zeros(classes, np.int64)
    for words, tags in zip(train_words, train_tags, strict=True):
        for word, tag in zip(words, tags[: len(words)], strict=True):
            counts.setdefault(word, np.zeros(classes, np.int64))[tag] += 1
            total[tag] += 1
    found = {
        name: np.full((len(test_words), max(map(len, test_words), default=0), classes), np.nan)
        for name in ("majority", "lookup")
    }
    for row, words in enumerate(test_words):
        for place, word in enumerate(words):
            found["majority"][row, place] = _certain(total)
            found["lookup"][row, place] = _certain(counts.get(word, total))
    return {name: values.astype(np.float32) for name, values in found.items()}


def unigram_predictions(
    train_next: NDArray[np.int32], test_next: NDArray[np.int32], tokens: int
) -> dict[str, NDArray[np.float32]]:
    """Each next token by its frequency in the training texts, whatever stands before it.

    One is added to every count, so that no token is impossible (Laplace's rule of succession).

    Args:
        train_next: Next tokens of the training texts, int32 [rows, length], -1 where none is.
        test_next: The same of the test texts.
        tokens: Number of different tokens.

    Returns:
        `unigram`: natural log-probabilities [rows, length], NaN where no token is next.
    """
    counts = np.bincount(train_next[train_next >= 0], minlength=tokens) + 1.0
    logarithms = np.log(counts / counts.sum())
    found = np.where(test_next >= 0, logarithms[np.maximum(test_next, 0)], np.nan)
    return {"unigram": found.astype(np.float32)}


def _certain(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    certain = np.zeros(len(counts))
    certain[counts.argmax()] = 1.0
    return certain
