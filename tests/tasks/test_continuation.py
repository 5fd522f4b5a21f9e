import pytest

from tasks import continuation
from tasks.continuation import Continued, continue_texts
from tasks.vocabularies import fit

TEXTS = ["the film is slow", "the film sings", "nobody will remember any of it now"] * 5


@pytest.fixture
def continued(monkeypatch, tmp_path):
    """Continues texts by a stand-in that repeats the last token of what it is given."""

    class Repeating:
        def __init__(self, network, fitted):
            pass

        def continuations(self, beginnings, max_new_tokens, temperature):
            assert temperature == 0
            return [[row[-1]] * max_new_tokens for row in beginnings]

    monkeypatch.setattr(continuation, "Generator", Repeating)
    monkeypatch.setattr(continuation, "open_network", lambda path: None)
    fitted = fit(TEXTS, name="text", tokens="byte_pairs", vocabulary_size=400, length=16)

    def make(rows, *, personal=False):
        return continue_texts(tmp_path, rows, fitted, personal=personal)

    return make


def test_second_halves_are_compared_with_the_true_ones(continued):
    found = continued(TEXTS)
    assert set(found.metrics) == {"bleu", "rouge_l"}
    table = found.tables["generated.json"]
    assert len(table["data"]) == continuation.SAMPLES
    beginning, generated, true = table["data"][0]
    assert (beginning, true) == ("the film", "is slow")
    # as long as the true half
    assert set(generated.split()) == {"film"}


def test_personal_texts_are_measured_and_not_shown(continued):
    found = continued(TEXTS, personal=True)
    assert found.metrics
    assert found.tables == {}


def test_texts_of_one_word_have_no_second_half(continued):
    assert continued(["", "film", "  "]) == Continued()
