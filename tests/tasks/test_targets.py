import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import ConfigError, DataError
from tasks.handoffs import Column, Snapshot, StoredFile
from tasks.inputs import Inputs
from tasks.targets import encode_targets

FILE = StoredFile(uri="x", sha256="0" * 64, size=1)
TEXT = Column(name="text", role="feature", kind="text")
TAGS = Column(name="tags", role="label", kind="text")


def snapshot(problem, *columns):
    return Snapshot(
        dataset="texts", problem=problem, file=FILE, rows=2, columns=columns, source_digest="0"
    )


def test_a_tag_is_learnt_at_the_first_token_of_its_word_and_judged_for_all_words():
    table = pa.table({"text": ["Ada met", "who"], "tags": ["B-person O", "O"]})
    words = np.array([[-1, 0, -1], [-1, 0, -1]], np.int32)
    inputs = Inputs(np.zeros((2, 3), np.int32), {}, words)
    found = encode_targets(table, snapshot("token_classification", TEXT, TAGS), inputs)
    assert found.classes == ("O", "B-person")
    assert found.labels.tolist() == [[-1, 1, -1], [-1, 0, -1]]
    assert found.truth.tolist() == [[1, 0], [0, -1]]


def test_a_text_with_another_number_of_tags_is_refused_by_its_row():
    table = pa.table({"text": ["Ada", "secret words"], "tags": ["O", "O"]})
    inputs = Inputs(np.zeros((2, 3), np.int32), {}, np.zeros((2, 3), np.int32))
    with pytest.raises(DataError, match="Row 2 has 2 words and 1 tags") as caught:
        encode_targets(table, snapshot("token_classification", TEXT, TAGS), inputs)
    assert "secret" not in str(caught.value)


def test_a_text_that_goes_on_needs_to_know_its_end():
    table = pa.table({"text": ["a b", "c"]})
    tokens = np.array([[5, 1, 2, 5], [5, 3, 5, 5]], np.int32)
    fitted = {"start": 5, "end": 5, "padding": 5, "tokens": "byte_pairs"}
    found = encode_targets(table, snapshot("text_generation", TEXT), Inputs(tokens, fitted))
    assert found.labels.tolist() == [[1, 2, 5, -1], [3, 5, -1, -1]]
    assert found.truth is None
    words = {"start": None, "end": None, "padding": 0, "tokens": "words"}
    with pytest.raises(ConfigError, match="no token for the end"):
        encode_targets(table, snapshot("text_generation", TEXT), Inputs(tokens, words))
