"""What a network learns to say of each row, as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.errors import ConfigError, DataError
from tasks.handoffs import Snapshot
from tasks.inputs import Inputs
from tasks.outputs import OUTSIDE, next_tokens

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Targets:
    """What is to be predicted.

    Args:
        labels: Of each row, as `tasks.handoffs.Arrays` describes them.
        classes: The labels in the order of their indices; empty where there are none.
        truth: What predictions are judged by, where that is not `labels`.
    """

    labels: np.ndarray
    classes: tuple[str, ...] = ()
    truth: np.ndarray | None = None


def encode_targets(table: pyarrow.Table, snapshot: Snapshot, inputs: Inputs) -> Targets:
    """The labels of all rows as numbers.

    Args:
        table: All rows, each with a label.
        snapshot: Says what is predicted, and which column that is.
        inputs: What the network is given of the same rows.

    Raises:
        ConfigError: Texts are to go on, and were cut into tokens of which none ends a text.
        DataError: A text has another number of words than of tags.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    labels = table[snapshot.label.name]
    if snapshot.problem == "regression":
        return Targets(labels.to_numpy().astype(np.float32))
    if snapshot.problem == "text_generation":
        return _next_tokens(inputs)
    if snapshot.problem == "token_classification":
        if inputs.words is None:
            raise DataError(
                f"{snapshot.dataset} has tags of words and a feature that is no text; expected one "
                f"column of texts. Mend the columns in tasks/datasets/{snapshot.dataset}.py."
            )
        (column,) = snapshot.features
        return _word_tags(table[column.name], labels, inputs.words)
    classes = class_names(labels)
    return Targets(pc.index_in(labels, pa.array(classes)).to_numpy().astype(np.int32), classes)


def class_names(labels: pyarrow.ChunkedArray) -> tuple[str, ...]:
    """The distinct labels, sorted; as numbers where all are whole numbers."""
    names = labels.drop_null().unique().to_pylist()
    whole = all(name.removeprefix("-").isdecimal() for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if whole else None))


def _next_tokens(inputs: Inputs) -> Targets:
    if inputs.fitted["end"] is None:
        raise ConfigError(
            f"preparation.tokens is {inputs.fitted['tokens']!r}, which has no token for the end of "
            "a text; a text that goes on needs one, to know when to stop. Set "
            "preparation.tokens=byte_pairs."
        )
    return Targets(next_tokens(inputs.values, inputs.fitted))


def _word_tags(
    texts: pyarrow.ChunkedArray, labels: pyarrow.ChunkedArray, words: np.ndarray
) -> Targets:
    """Tags at the first token of each word to learn from, and tags of all words to judge by."""
    tags = [tagged.split() for tagged in labels.to_pylist()]
    _require_as_many(texts, tags)
    classes = (OUTSIDE, *sorted({tag for row in tags for tag in row} - {OUTSIDE}))
    number = {name: place for place, name in enumerate(classes)}
    truth = np.full((len(tags), max(map(len, tags), default=0)), -1, np.int32)
    for row, names in enumerate(tags):
        truth[row, : len(names)] = [number[name] for name in names]
    learnt = np.full_like(words, -1)
    begins = np.nonzero(words >= 0)
    learnt[begins] = truth[begins[0], words[begins]]
    return Targets(learnt, classes, truth)


def _require_as_many(texts: pyarrow.ChunkedArray, tags: Sequence[Sequence[str]]) -> None:
    for row, (text, names) in enumerate(zip(texts.to_pylist(), tags, strict=True), start=1):
        words = len((text or "").split())
        if words != len(names):
            raise DataError(
                f"Row {row:,} has {words} words and {len(names)} tags; expected a tag for each "
                "word between spaces. Mend the source."
            )
