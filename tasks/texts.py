"""Raw texts to tokens, alike in training and in service, by what `tasks.vocabularies` fitted.

A copy of this very file ships inside each registered model of texts, so it needs numpy and
`tokenizers` and nothing of ours; frames are used as they come, and errors are plain `ValueError`s.
What was fitted is JSON, the tokenizer included.

A text becomes whole numbers of a fixed length: cut where it is longer, filled up where it is
shorter. A blank counts as the empty text.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def transform(texts: Any, fitted: Mapping[str, Any]) -> np.ndarray:
    """Texts as tokens.

    Args:
        texts: A frame with the column, or the texts themselves.
        fitted: From `tasks.vocabularies.fit`.

    Returns:
        int32 [rows, length].

    Raises:
        ValueError: The column is missing, or a value is neither a text nor blank.
    """
    return encode(texts, fitted)[0]


def encode(texts: Any, fitted: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Texts as tokens, and which word begins at each.

    Args:
        texts: A frame with the column, or the texts themselves.
        fitted: From `tasks.vocabularies.fit`.

    Returns:
        Tokens, and the numbers of the words between spaces whose first token stands there, counted
        from 0, or -1 where none begins and for texts that are not `pre_split`; both int32
        [rows, length].

    Raises:
        ValueError: The column is missing, or a value is neither a text nor blank.
    """
    found, beginnings = _tokenized(texts, fitted)
    length, start, end = fitted["length"], fitted["start"], fitted["end"]
    tokens = np.full((len(found), length), fitted["padding"], np.int32)
    words = np.full_like(tokens, -1)
    first, most = int(start is not None), room(fitted)
    for row, numbers in enumerate(found):
        kept = numbers[:most]
        stop = first + len(kept)
        if first:
            tokens[row, 0] = start
        tokens[row, first:stop] = kept
        words[row, first:stop] = beginnings[row][:most]
        if end is not None and stop < length:
            tokens[row, stop] = end
        elif end is None and not kept:
            # a network that skips the padding has to be given something
            tokens[row, 0] = fitted["unknown"]
    return tokens, words


def tokenize(texts: Any, fitted: Mapping[str, Any]) -> list[list[int]]:
    """The tokens of whole texts, neither cut nor filled up, without start and end."""
    return _tokenized(texts, fitted)[0]


def decode(tokens: Any, fitted: Mapping[str, Any]) -> list[str]:
    """Tokens as texts again, each up to its end and without padding.

    Args:
        tokens: Whole numbers [rows, any length].
        fitted: From `tasks.vocabularies.fit`.
    """
    end, left_out = fitted["end"], {fitted["padding"], fitted["start"]}
    rows = []
    for row in np.asarray(tokens).tolist():
        begun = itertools.dropwhile(left_out.__contains__, row)
        told = itertools.takewhile(lambda token: token != end, begun)
        rows.append([token for token in told if token not in left_out])
    texts: list[str] = _tokenizer(fitted["tokenizer"]).decode_batch(rows, skip_special_tokens=True)
    return texts


def room(fitted: Mapping[str, Any]) -> int:
    """Tokens of a text that fit between its start and its end; what is beyond is cut.

    BERT also ends a text that was cut; to GPT-2 the end means that the text is over.
    """
    special = {"words": 0, "word_pieces": 2, "byte_pairs": 1}
    return int(fitted["length"]) - special[fitted["tokens"]]


def to_json(fitted: Mapping[str, Any]) -> str:
    """What was fitted, as text; the same vocabulary gives the same text."""
    return json.dumps(fitted, sort_keys=True, allow_nan=False)


@functools.lru_cache(maxsize=4)
def _tokenizer(described: str) -> Tokenizer:
    """A tokenizer from its JSON; it takes a tenth of a second to read one of BERT's size."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(described)
    # a text that spells "[SEP]" must not end itself
    tokenizer.encode_special_tokens = True
    return tokenizer


def _tokenized(texts: Any, fitted: Mapping[str, Any]) -> tuple[list[list[int]], list[list[int]]]:
    """The tokens of each text, and for each the number of the word that begins there or -1."""
    rows = as_texts(texts, fitted["name"])
    tokenizer = _tokenizer(fitted["tokenizer"])
    if not fitted["pre_split"]:
        # fast: without the places in the text, which nobody asks for
        encodings = tokenizer.encode_batch_fast(rows, add_special_tokens=False)
        tokens = [encoding.ids for encoding in encodings]
        return tokens, [[-1] * len(found) for found in tokens]
    split = [text.split() for text in rows]
    encodings = tokenizer.encode_batch(split, is_pretokenized=True, add_special_tokens=False)
    pairs = [
        _by_words(encoding, len(words), fitted["unknown"])
        for encoding, words in zip(encodings, split, strict=True)
    ]
    return [tokens for tokens, _ in pairs], [beginnings for _, beginnings in pairs]


def _by_words(encoding: Any, words: int, unknown: int | None) -> tuple[list[int], list[int]]:
    """Tokens and beginnings; a word of which nothing is left, such as a joiner, is unknown."""
    pieces: list[list[int]] = [[] for _ in range(words)]
    for token, word in zip(encoding.ids, encoding.word_ids, strict=True):
        pieces[word].append(token)
    tokens: list[int] = []
    beginnings: list[int] = []
    for word, own in enumerate(pieces):
        found = own or ([] if unknown is None else [unknown])
        tokens += found
        beginnings += [word, *[-1] * (len(found) - 1)][: len(found)]
    return tokens, beginnings


def as_texts(texts: Any, name: str) -> list[str]:
    """Each value as a text that UTF-8 can hold, blanks as the empty one."""
    if hasattr(texts, "columns"):
        if name not in texts.columns:
            found = ", ".join(map(str, texts.columns[:20]))
            raise ValueError(f"The column '{name}' is missing; found {found or 'none'}.")
        texts = texts[name]
    return [_text(value, row, name) for row, value in enumerate(texts)]


def _text(value: Any, row: int, name: str) -> str:
    if isinstance(value, str):
        # half of a surrogate pair, as careless cutting leaves, is no character
        return str(value) if value.isascii() else value.encode(errors="replace").decode()
    # pandas' own blank is no number and no text, and its module is not to be imported here
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return ""
    if isinstance(value, float | np.floating) and np.isnan(value):
        return ""
    raise ValueError(
        f"The column '{name}' has a value of the type {type(value).__name__} in row {row + 1:,}; "
        "expected texts, and blanks where there is none. Write numbers as text."
    )
