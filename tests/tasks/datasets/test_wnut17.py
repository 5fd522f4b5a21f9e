import gzip

import pytest

from tasks.datasets import DATASETS
from tasks.errors import SourceError
from tasks.formats import read_tagged_words

DATASET = DATASETS["wnut17"]
CONLL = "Ada\tB-person\nLovelace\tI-person\nsang\tO\n \t \n@who\tO\n\n\nIBM\tNN\tB-corporation\n"


def write(folder, content=CONLL):
    files = {}
    for file in DATASET.files:
        files[file.name] = folder / f"{file.name}.gz"
        files[file.name].write_bytes(gzip.compress(content.encode()))
    return files


def test_a_text_is_a_row_of_words_with_a_tag_for_each(tmp_path):
    table = DATASET.read(write(tmp_path))
    assert table.column("text").to_pylist()[:3] == ["Ada Lovelace sang", "@who", "IBM"]
    assert table.column("tags").to_pylist()[:3] == ["B-person I-person O", "O", "B-corporation"]
    assert table.column("part").to_pylist() == ["train"] * 6 + ["test"] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Ada\tB-person\nsecret\n", "Line 2 of .*train.* is no word, a tab and a tag"),
        ("secret word\tO\n", "Line 1 of"),
        ("\n \n", "has no texts"),
    ],
    ids=["no tag", "a space in a word", "nothing"],
)
def test_a_line_that_is_no_tagged_word_is_refused_by_its_number(tmp_path, content, message):
    path = write(tmp_path, content)["wnut17train.conll"]
    with pytest.raises(SourceError, match=message) as caught:
        read_tagged_words(path)
    assert "secret" not in str(caught.value)


def test_the_real_files_hold_what_was_published(real_data):
    folder = real_data("wnut17")
    table = DATASET.read({file.name: folder / f"{file.name}.gz" for file in DATASET.files})
    assert table.num_rows == 3_394 + 1_009 + 1_287
    tags = {tag for row in table.column("tags").to_pylist() for tag in row.split()}
    assert tags == set(DATASET.classes)
