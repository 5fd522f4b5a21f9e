import numpy as np
import pytest

from tasks.metrics import is_better, measure
from tasks.sequence_metrics import comparable_rows, generation_metrics

TAGS = ("O", "B-person", "I-person")
NAN = np.nan


def tagged(rows):
    """Probabilities that say just these tags, None for a word without any."""
    eye = np.eye(len(TAGS))
    blank = np.full(len(TAGS), NAN)
    return np.array([[blank if tag is None else eye[tag] for tag in row] for row in rows])


def test_an_entity_counts_when_all_of_it_is_right():
    truth = np.array([[1, 2, 0, 1], [0, 1, -1, -1]])
    found = measure(
        "token_classification", truth, tagged([[1, 2, 0, 0], [1, 1, None, None]]), classes=TAGS
    )
    # of three entities one is found whole; three are predicted
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["accuracy"] == pytest.approx(4 / 6)


def test_half_an_entity_is_none():
    found = measure("token_classification", np.array([[1, 2]]), tagged([[1, 0]]), classes=TAGS)
    assert found == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": 0.5}


def test_what_goes_on_with_nothing_is_no_entity():
    found = measure("token_classification", np.array([[1, 0]]), tagged([[2, 0]]), classes=TAGS)
    assert found["precision"] == 0.0


def test_words_that_a_model_says_nothing_of_are_outside():
    truth = np.array([[1, 0, 0]])
    narrow = measure("token_classification", truth, tagged([[1]]), classes=TAGS)
    blank = measure("token_classification", truth, tagged([[1, None, None]]), classes=TAGS)
    assert narrow == blank
    assert blank["accuracy"] == 1.0


def test_perplexity_of_a_fair_die_is_six():
    truth = np.array([[3, 1, -1], [5, -1, -1]])
    sure = np.log(np.where(truth >= 0, 1 / 6, NAN))
    assert measure("text_generation", truth, sure)["perplexity"] == pytest.approx(6)
    assert is_better("perplexity", 5.0, 6.0)


def test_other_tokens_are_measured_by_the_same_texts():
    truth = np.array([[3, 1, 2, 4]])
    coarse = np.log(np.array([[1 / 36, 1 / 36, NAN, NAN]]))
    assert measure("text_generation", truth, coarse)["perplexity"] == pytest.approx(6)


def test_texts_that_one_model_read_further_are_left_out():
    ours = np.array([[-1, -1, -1], [-1, NAN, NAN], [-1, -1, NAN]], float)
    assert comparable_rows(ours, ours).all()
    theirs = np.array([[-1, -1], [-1, NAN], [-1, -1]], float)
    assert comparable_rows(ours, theirs).tolist() == [False, True, False]


def test_generated_texts_are_compared_with_the_true_ones():
    texts = ["the film is a quiet triumph of form", "nobody will remember any of it"]
    same = generation_metrics(texts, texts)
    assert same == {"bleu": pytest.approx(100), "rouge_l": 1.0}
    other = generation_metrics(["nothing alike", ""], texts)
    assert other == {"bleu": 0.0, "rouge_l": 0.0}
