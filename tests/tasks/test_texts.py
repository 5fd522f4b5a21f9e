import ast
import functools
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks import texts, vocabularies

SENTENCES = [
    "a gripping film, and it's well acted", "it's a dull film", "a dull and slow story",
    "gripping from its first minute", "slow, slow, slow", "well acted and well told",
]  # fmt: skip
KINDS = ("words", "word_pieces", "byte_pairs")


@functools.cache
def fitted(tokens="words", length=8, pre_split=False, name="text"):
    return vocabularies.fit(
        SENTENCES * 3, name=name, tokens=tokens, length=length, vocabulary_size=400,
        pre_split=pre_split,
    )  # fmt: skip


@pytest.mark.parametrize("tokens", KINDS)
def test_short_texts_are_filled_up_and_long_ones_are_cut(tokens):
    found = texts.transform(["dull", "slow " * 50], fitted(tokens))
    assert found.dtype == np.int32
    assert found.shape == (2, 8)
    padding = fitted(tokens)["padding"]
    assert (found[0] == padding).any()
    assert (found[1, 1:] != padding).all()
    assert [len(t) > texts.room(fitted(tokens)) for t in texts.tokenize(["dull", "slow " * 50],
            fitted(tokens))] == [False, True]  # fmt: skip


def test_words_are_found_whatever_their_case_and_punctuation():
    plain, loud = texts.transform(["its a dull film", "It's a DULL... film!"], fitted())
    assert plain.tolist() == loud.tolist()
    assert 1 not in plain


def test_word_pieces_stand_between_start_and_end_also_where_they_are_cut():
    is_as = fitted("word_pieces")
    short, long = texts.transform(["dull", "slow " * 50], is_as)
    assert short[0] == long[0] == is_as["start"]
    assert short[2] == long[-1] == is_as["end"]


def test_byte_pairs_begin_with_the_end_and_say_when_a_text_is_over():
    is_as = fitted("byte_pairs")
    short, long = texts.transform(["dull", "slow " * 50], is_as)
    assert short[0] == long[0] == short[-1] == is_as["end"] == is_as["padding"]
    assert is_as["end"] not in long[1:]
    assert is_as["unknown"] is None


ODD = {
    "empty": "",
    "white space": " \t\n ",
    "control characters": "\x00\x07",
    "emoji": "\N{GRINNING FACE} \N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}",
    "right to left": "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "half a surrogate pair": "dull \ud83d film",
    "None": None,
    "NaN": float("nan"),
    "pandas' own blank": pd.NA,
    "NumPy's text": np.str_("dull"),
    "ten thousand words": "dull " * 10_000,
}


@pytest.mark.parametrize("tokens", KINDS)
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_whatever_a_text_is_made_of_it_becomes_tokens(odd, tokens):
    is_as = fitted(tokens)
    found = texts.transform([odd, "dull"], is_as)
    assert found.min() >= 0
    assert found.max() < is_as["vocabulary_size"]
    # the odd one changes nothing for its neighbour, and leaves something for a network to read
    assert found[1].tolist() == texts.transform(["dull"], is_as)[0].tolist()
    assert tokens == "byte_pairs" or (found[0] != is_as["padding"]).any()


@pytest.mark.parametrize("tokens", KINDS)
def test_a_text_cannot_smuggle_special_tokens_in(tokens):
    is_as = fitted(tokens, length=64)
    special = {is_as[name] for name in ("padding", "start", "end")} - {None}
    for smuggled in texts.tokenize(["[SEP] <|endoftext|> [PAD] [CLS]"], is_as):
        assert not special & set(smuggled)


@pytest.mark.parametrize("wrong", [3, 2.5, b"dull", ["dull"], True])
def test_what_is_no_text_is_refused_by_column_and_row(wrong):
    with pytest.raises(ValueError, match=r"'text' has a value of the type \w+ in row 2; expected"):
        texts.transform(pd.DataFrame({"text": ["dull", wrong]}, dtype=object), fitted())


def test_a_frame_without_the_column_is_refused():
    with pytest.raises(ValueError, match="'text' is missing; found title, year"):
        texts.transform(pd.DataFrame({"title": ["dull"], "year": [1]}), fitted())
    assert texts.transform(pd.DataFrame({"text": pd.Series([], dtype="str")}), fitted()).shape == (
        0, 8,
    )  # fmt: skip


def test_texts_are_not_changed():
    frame = pd.DataFrame({"text": ["Dull", None]})
    before = frame.copy()
    texts.transform(frame, fitted())
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("tokens", ["word_pieces", "byte_pairs"])
def test_decoded_tokens_are_the_text_again(tokens):
    is_as = fitted(tokens, length=32)
    found = texts.decode(texts.transform(["a dull and slow story", ""], is_as), is_as)
    assert found == ["a dull and slow story", ""]


def test_decoding_stops_at_the_first_end():
    is_as = fitted("byte_pairs")
    (dull,), (slow,) = (texts.tokenize([word], is_as) for word in ("dull", "slow"))
    assert texts.decode([[is_as["end"], *dull, is_as["end"], *slow]], is_as) == ["dull"]


@pytest.mark.parametrize("tokens", KINDS)
def test_each_word_of_a_split_text_begins_at_one_token(tokens):
    sentence = "a gripping unheardof film , told"
    tokens_found, words = texts.encode([sentence, ""], fitted(tokens, 64, pre_split=True))
    assert words[0][words[0] >= 0].tolist() == list(range(6))
    assert (words[1] == -1).all()
    assert tokens_found.shape == words.shape == (2, 64)


@pytest.mark.parametrize("tokens", ["words", "word_pieces"])
def test_a_word_of_which_nothing_is_left_is_an_unknown_one(tokens):
    is_as = fitted(tokens, 16, pre_split=True)
    found, words = texts.encode(["dull \ufe0f\x00 film"], is_as)
    (place,) = np.flatnonzero(words[0] == 1)
    assert found[0, place] == is_as["unknown"]
    assert words[0][words[0] >= 0].tolist() == [0, 1, 2]


def test_words_beyond_the_length_begin_nowhere():
    _, words = texts.encode(["dull " * 20], fitted("word_pieces", 8, pre_split=True))
    assert words[0].tolist() == [-1, 0, 1, 2, 3, 4, 5, -1]


def test_the_file_needs_nothing_of_ours_and_what_was_fitted_is_json():
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(Path(texts.__file__).read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else
                     [alias.name for alias in node.names])
        if name
    }  # fmt: skip
    assert imported - set(sys.stdlib_module_names) == {"numpy", "tokenizers"}
    assert json.loads(texts.to_json(fitted())) == fitted()
