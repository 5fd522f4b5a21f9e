import json

import numpy as np
import pyarrow as pa
import pytest

from tasks.config import PreparationConfig
from tasks.errors import ConfigError
from tasks.handoffs import Column, Snapshot, StoredFile
from tasks.inputs import fit_inputs
from tasks.splitting import TEST, TRAIN

FILE = StoredFile(uri="nowhere", sha256="0", size=0)
SENTENCES = ["a dull film", "a gripping film", "dull dull", *["a film"] * 7]


@pytest.fixture
def fit():
    """The inputs of sentences, of which all but the last train."""

    def run(sentences=SENTENCES, problem="classification", personal=False, **settings):
        columns = (
            Column(name="text", role="feature", kind="text", personal=personal),
            Column(name="label", role="label", kind="category"),
        )
        snapshot = Snapshot(
            dataset="trial", problem=problem, file=FILE, rows=len(sentences), columns=columns,
            source_digest="",
        )  # fmt: skip
        sides = np.array([TRAIN] * (len(sentences) - 1) + [TEST])
        table = pa.table({"text": pa.array(sentences, pa.string())})
        return fit_inputs(table, snapshot, sides, PreparationConfig(text_length=4, **settings))

    return run


def test_only_training_rows_make_the_vocabulary(fit):
    inputs = fit(["dull", "gripping", "unseen gripping"])
    assert inputs.values.tolist()[2][0] == inputs.fitted["unknown"]
    assert inputs.values.tolist()[2][1] == inputs.values.tolist()[1][0]
    assert "unseen" not in inputs.fitted["tokenizer"]


def test_cut_and_empty_texts_are_told(fit):
    inputs = fit(["dull " * 5, "dull " * 4, "...", None, "a"])
    assert inputs.warnings == (
        "1 of 5 texts (20.0%) have more than 4 tokens and were cut there; see "
        "preparation.text_length.",
        "2 of 5 texts are empty, or hold nothing but separators.",
    )
    assert fit().warnings == ()


def test_words_of_a_personal_text_that_come_seldom_do_not_ship(fit):
    assert '"gripping"' in fit().fitted["tokenizer"]
    seldom = fit(personal=True, minimum_category_rows=2).fitted["tokenizer"]
    assert '"gripping"' not in seldom
    assert '"dull"' in seldom


def test_tags_need_to_know_which_word_begins_where(fit):
    found = fit(problem="token_classification", tokens="word_pieces").words
    assert found is not None
    assert found[0].tolist() == [-1, 0, 1, -1]


def test_a_vocabulary_of_a_folder_is_taken_whole_into_what_ships(fit, tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ndull\n")
    settings = {"tokens": "word_pieces", "vocabulary": str(tmp_path)}
    inputs = fit(**settings)
    assert inputs.values[2].tolist() == [2, 5, 5, 3]
    assert str(tmp_path) not in json.dumps(inputs.fitted)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nfilm\ndull\n")
    assert fit(**settings).fitted != inputs.fitted


def test_a_vocabulary_that_is_not_there_is_a_sentence(fit, tmp_path):
    with pytest.raises(ConfigError, match="not there"):
        fit(vocabulary=str(tmp_path / "nowhere"))
    (tmp_path / "vocab.txt").write_text("dull\n")
    with pytest.raises(ConfigError, match=r"cannot be read as 'words'.*preparation\.tokens"):
        fit(vocabulary=str(tmp_path))
