import pandas as pd
import pytest

from data_checks.checks import Strictness
from data_checks.runner import run_checks

GOOD = ["O B-person I-person", "O O O", "B-group B-group O", "I-person O O"]


def run(tags, rows=200):
    texts = [f"Ada met number{row}" for row in range(rows)]
    column = (tags * rows)[: rows - 1]
    parts = ["train", "test"] * (rows // 2)
    frame = pd.DataFrame({"text": texts, "tags": [GOOD[0], *column], "part": parts})
    report, page = run_checks(
        frame, "wnut17", Strictness(minimum_rows=1), personal=frozenset({"text"})
    )
    assert "Ada met" not in page
    return {failure.check: failure for failure in report.failures}


def test_tags_that_fit_their_words_pass():
    assert run(GOOD[:3]) == {}


@pytest.mark.parametrize(
    ("tags", "check", "sentence"),
    [
        ("O O", "count/tags", "expected a tag for each word; 199 of 200 rows"),
        ("O B-animal O", "types/tags", "O, or B- or I- and one of"),
        ("O X O", "types/tags", "O, or B- or I- and one of"),
        (GOOD[3], "order/tags", "no I- that continues nothing"),
        ("B-group I-person O", "order/tags", "no I- that continues nothing"),
    ],
)
def test_tags_that_do_not_fit_are_told(tags, check, sentence):
    failure = run([tags])[check]
    assert failure.severity == "error"
    assert sentence in failure.sentence


def test_a_table_without_any_entity_is_refused():
    frame = pd.DataFrame({"text": ["who knows", "not me"], "tags": ["O O"] * 2})
    frame["part"] = ["train", "test"]
    report, _ = run_checks(frame, "wnut17", Strictness(minimum_rows=1))
    assert [failure.check for failure in report.errors] == ["entities/tags"]
