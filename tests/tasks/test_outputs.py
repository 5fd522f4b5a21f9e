import json

import numpy as np
import pytest

from tasks import outputs

NAN = np.nan
TAGS = ("O", "B-person", "I-person", "B-group", "I-group")
# the first token starts a text and the last one ends it, as GPT-2 does with one and the same
GPT2 = {"start": 9, "end": 9, "padding": 9, "length": 5, "vocabulary_size": 10}
BERT = {"start": 7, "end": 8, "padding": 0, "length": 5, "vocabulary_size": 10}


def tagged(*numbers):
    return np.eye(len(TAGS), dtype=np.float32)[list(numbers)]


def test_a_word_has_the_tag_of_its_first_token_and_none_beyond_the_cut():
    given = np.zeros((2, 4, 2), np.float32)
    given[0, 1], given[0, 3], given[1, 1] = (0.1, 0.9), (0.3, 0.7), (0.2, 0.8)
    words = np.array([[-1, 0, -1, 1], [-1, 0, -1, -1]])
    found = outputs.word_probabilities(given, words, np.array([3, 1]), outside=0)
    assert found[0].tolist() == pytest.approx(np.array([[0.1, 0.9], [0.3, 0.7], [1, 0]]))
    assert found[1, 0].tolist() == pytest.approx([0.2, 0.8])
    assert np.isnan(found[1, 1:]).all()


@pytest.mark.parametrize(
    ("fitted", "tokens", "following"),
    [
        (GPT2, [9, 1, 2, 9, 9], [1, 2, 9, -1, -1]),
        (GPT2, [9, 9, 9, 9, 9], [9, -1, -1, -1, -1]),
        (GPT2, [9, 1, 2, 3, 4], [1, 2, 3, 4, -1]),
        (BERT, [7, 1, 8, 0, 0], [1, 8, -1, -1, -1]),
        (BERT | {"start": None}, [8, 0, 0, 0, 0], [-1, -1, -1, -1, -1]),
    ],
    ids=["a text", "an empty text", "a text that was cut", "other tokens", "no start"],
)
def test_the_next_token_is_known_up_to_the_end_of_a_text(fitted, tokens, following):
    assert outputs.next_tokens(np.array([tokens]), fitted).tolist() == [following]


def test_a_token_is_judged_by_the_logarithm_of_its_probability():
    given = np.array([[[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]]], np.float32)
    found = outputs.next_log_probabilities(given, np.array([[1, 0, 1]]))
    assert found[0, :2] == pytest.approx(np.log([0.5, 0.25]))
    assert np.isfinite(found).all()
    assert np.isnan(outputs.next_log_probabilities(given, np.array([[1, 0, -1]]))[0, 2])


def test_large_outputs_come_in_small_batches(monkeypatch):
    monkeypatch.setattr(outputs, "NUMBERS_AT_ONCE", 100)
    seen = []

    def network(tokens):
        seen.append(len(tokens))
        return np.full((*tokens.shape, 10), 0.1, np.float32)

    fitted = GPT2 | {"problem": "text_generation", "classes": []}
    tokens = np.tile([9, 1, 2, 9, 9], (5, 1)).astype(np.int32)
    found = outputs.predict(network, tokens, fitted)
    assert seen == [2, 2, 1]
    assert found[:, :3] == pytest.approx(np.full((5, 3), np.log(0.1)))


@pytest.mark.parametrize(
    ("problem", "shape"),
    [
        ("classification", (0, 2)),
        ("regression", (0,)),
        ("token_classification", (0, 0, 2)),
        ("text_generation", (0, 0)),
    ],
)
def test_no_rows_have_no_predictions(problem, shape):
    fitted = GPT2 | {"problem": problem, "classes": ["O", "B-x"]}
    assert outputs.predict(lambda rows: rows, np.empty((0, 5), np.int32), fitted).shape == shape


def test_batches_of_other_widths_are_joined():
    parts = [np.ones((1, 1, 2), np.float32), np.ones((1, 3, 2), np.float32)]
    found = outputs.joined(parts)
    assert found.shape == (2, 3, 2)
    assert np.isnan(found[0, 1:]).all()


def test_tagged_texts_come_with_their_entities():
    predictions = np.full((3, 4, len(TAGS)), NAN, np.float32)
    predictions[0, :4], predictions[1, :2] = tagged(1, 2, 0, 3), tagged(0, 2)
    texts = ["Ada Lovelace met  everyone", "well done", ""]
    frame = outputs.tagged_frame(predictions, TAGS, texts, index=[5, 6, 7])
    assert frame["prediction"].tolist() == ["B-person I-person O B-group", "O I-person", ""]
    assert frame["entities"][5] == [
        {"text": "Ada Lovelace", "type": "person", "first_word": 0, "last_word": 1},
        {"text": "everyone", "type": "group", "first_word": 3, "last_word": 3},
    ]
    assert frame["entities"][6] == frame["entities"][7] == []
    assert [len(row) for row in frame["probability_O"]] == [4, 2, 0]
    assert json.loads(frame.to_json())["probability_B-person"]["5"] == [1, 0, 0, 0]


def test_entities_are_those_that_the_figures_count():
    from seqeval.scheme import IOB2, Entities

    random = np.random.default_rng(0)
    for _ in range(50):
        tags = random.choice(TAGS, 12).tolist()
        strict = [(e.tag, e.start, e.end - 1) for e in Entities([tags], IOB2).entities[0]]
        ours = outputs.entities_of([str(n) for n in range(12)], tags)
        assert [(e["type"], e["first_word"], e["last_word"]) for e in ours] == strict


def test_a_continued_text_tells_how_likely_it_was_itself():
    predictions = np.array([[-1.5, -0.5, NAN], [NAN, NAN, NAN]], np.float32)
    frame = outputs.continued_frame(predictions, [" and so on", ""])
    assert frame["prediction"].tolist() == [" and so on", ""]
    assert frame["log_probabilities"].tolist() == [[-1.5, -0.5], []]
