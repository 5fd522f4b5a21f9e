import numpy as np
import pytest

from tasks.baselines.sequences import tag_predictions, unigram_predictions


def test_a_word_has_the_tag_that_it_had_most_often():
    words = [["Ada", "met", "Ada"], ["Ada", "sang"]]
    tags = np.array([[1, 0, 1], [0, 0, -1]], np.int32)
    found = tag_predictions(words, tags, [["Ada", "unseen"], ["met"]], classes=2)
    assert found["lookup"].argmax(axis=2)[0].tolist() == [1, 0]
    assert found["majority"].argmax(axis=2)[0].tolist() == [0, 0]
    assert np.isnan(found["lookup"][1, 1]).all()


def test_a_token_is_as_probable_as_it_was_frequent_plus_one():
    found = unigram_predictions(
        np.array([[1, 1, -1], [2, -1, -1]]), np.array([[1, 0, -1]]), tokens=4
    )["unigram"]
    assert found[0, :2] == pytest.approx(np.log([3 / 7, 1 / 7]))
    assert np.isnan(found[0, 2])
