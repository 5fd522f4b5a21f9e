import numpy as np
import pytest

from tasks.baselines import arrays
from tasks.baselines.texts import text_predictions

WORDS = {0: ["dull", "slow", "tired"], 1: ["gripping", "fresh", "witty"]}


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    labels = random.permutation(np.arange(300) % 2)
    sentences = [f"a {random.choice(WORDS[label])} film of {random.choice(90)}" for label in labels]
    return np.array(sentences, dtype=object), labels


@pytest.mark.parametrize("kind", ["linear", "boosting"])
def test_the_plain_model_learns_words_and_the_simplest_knows_the_shares(rows, kind):
    sentences, labels = rows
    found = text_predictions(kind, sentences[:200], labels[:200], sentences[200:], classes=2)
    assert set(found) == {"majority", kind}
    assert found["majority"][0] == pytest.approx(np.bincount(labels[:200]) / 200)
    assert (found[kind].argmax(axis=1) == labels[200:]).mean() > 0.95


@pytest.mark.parametrize("kind", ["linear", "boosting"])
def test_values_are_measured_against_the_mean(rows, kind):
    sentences, labels = rows
    found = text_predictions(kind, sentences[:200], 5.0 * labels[:200], sentences[200:], classes=0)
    assert found["mean"] == pytest.approx(np.full(100, 5.0 * labels[:200].mean()))
    assert np.abs(found[kind] - 5.0 * labels[200:]).mean() < 1


@pytest.mark.parametrize("kind", ["linear", "boosting"])
@pytest.mark.parametrize("odd", ["", "\N{GRINNING FACE}", "\x00"])
def test_rows_without_a_word_are_predicted_too(odd, kind):
    found = text_predictions(kind, [odd] * 40, np.arange(40) % 2, [odd, "never seen"], classes=3)
    assert found[kind].shape == (2, 3)
    assert np.isfinite(found[kind]).all()
    assert not found[kind][:, 2].any()


def test_many_rows_are_thinned_out_and_the_name_says_so(rows, monkeypatch):
    monkeypatch.setattr(arrays, "ROWS_AT_MOST", 120)
    sentences, labels = rows
    assert set(text_predictions("linear", sentences, labels, sentences[:5], 2)) == {
        "majority", "linear_100_rows",
    }  # fmt: skip
