import pytest

from tasks.datasets.sms_spam import DATASET, FILE
from tasks.errors import SourceError


@pytest.fixture
def read(tmp_path):
    def run(text):
        (tmp_path / FILE).write_text(text)
        return DATASET.read({FILE: tmp_path / FILE})

    return run


def test_quotes_and_further_tabs_are_part_of_the_message(read):
    table = read('ham\t"Ok, see\tyou\nspam\tWIN a "prize"\r\n')
    assert table["label"].to_pylist() == ["ham", "spam"]
    assert table["text"].to_pylist() == ['"Ok, see\tyou', 'WIN a "prize"']


def test_messages_are_personal():
    assert next(column for column in DATASET.columns if column.name == "text").personal


def test_a_line_without_a_label_is_refused_by_its_number_and_not_shown(read):
    with pytest.raises(SourceError, match=r"^Line 2 of .* has no tab") as caught:
        read("ham\tsee you\ncall me on 0123456\n")
    assert "0123456" not in str(caught.value)


def test_all_that_was_published_is_read_and_passes_its_checks(real_data):
    from data_checks.runner import run_checks

    path = real_data("sms-spam") / f"{FILE}.gz"
    frame = DATASET.read({FILE: path}).to_pandas()
    assert frame["label"].value_counts().to_dict() == {"ham": 4827, "spam": 747}
    report, page = run_checks(frame, DATASET.name, personal=frozenset({"text"}))
    assert [failure.check for failure in report.failures] == ["copies/text"]
    assert report.errors == ()
    # the first message of all, which comes once
    assert "jurong point" in frame["text"][0]
    assert "jurong point" not in report.to_json() + page
