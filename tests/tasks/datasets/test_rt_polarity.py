import pytest

from tasks.datasets.rt_polarity import DATASET, FILES
from tasks.errors import SourceError


@pytest.fixture
def files(tmp_path):
    """Both files, in which one sentence holds a character that Python takes for a line's end."""
    sentences = {"negative": "dull\x85 and slow\nsimplistic \n", "positive": "gripping\n"}
    for label, text in sentences.items():
        (tmp_path / FILES[label]).write_bytes(text.encode())
    return {name: tmp_path / name for name in FILES.values()}


def test_a_line_is_a_sentence_and_its_file_the_label(files):
    table = DATASET.read(files)
    assert table["text"].to_pylist() == ["dull\x85 and slow", "simplistic ", "gripping"]
    assert table["sentiment"].to_pylist() == ["negative", "negative", "positive"]


def test_another_encoding_is_refused_by_its_line(files):
    files["rt-polarity.pos"].write_bytes(b"gripping\nd\xe9j\xe0 vu\n")
    with pytest.raises(SourceError, match=r"rt-polarity\.pos is not UTF-8: .* in line 2"):
        DATASET.read(files)


def test_all_that_was_published_is_read_and_passes_its_checks(real_data):
    from data_checks.runner import run_checks

    folder = real_data("rt-polarity")
    frame = DATASET.read({name: folder / f"{name}.gz" for name in FILES.values()}).to_pandas()
    assert frame["sentiment"].value_counts().to_dict() == {"negative": 5331, "positive": 5331}
    assert run_checks(frame, DATASET.name)[0].failures == ()
