import pytest

from data_checks.runner import run_checks
from tasks.datasets.adult_census import DATASET, FILE
from tests.stand_ins import write_census

ROW = (
    "39, {work}, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, "
    "2174, 0, 40, United-States, <=50K"
)


@pytest.fixture
def two_rows(tmp_path):
    path = tmp_path / FILE
    path.write_text("\n".join((ROW.format(work="State-gov"), ROW.format(work="?"))) + "\n\n")
    return DATASET.read({FILE: path})


def test_the_first_line_is_a_row_and_a_question_mark_is_a_blank(two_rows):
    assert two_rows["workclass"].to_pylist() == ["State-gov", None]
    assert two_rows["age"].to_pylist() == [39, 39]
    assert two_rows["income"].to_pylist() == ["<=50K", "<=50K"]


def test_sex_and_race_are_no_features(two_rows):
    features = {column.name for column in DATASET.columns if column.role == "feature"}
    assert not {"sex", "race", "fnlwgt"} & features
    assert two_rows.schema.field("sex").metadata[b"role"] == b"ignored"


def test_the_whole_of_the_census_passes(real_data):
    table = DATASET.read({FILE: real_data("adult-census") / f"{FILE}.gz"})
    assert table.num_rows == 32_561
    assert run_checks(table.to_pandas(), "adult_census")[0].failures == ()


def test_people_that_cannot_be_are_noticed(tmp_path):
    write_census(tmp_path / "census", rows=300)
    frame = DATASET.read({FILE: tmp_path / "census" / FILE}).to_pandas()
    report, _ = run_checks(frame.assign(age=-1, sex="?"), "adult_census")
    assert {"range/age", "categories/sex"} <= {failure.check for failure in report.failures}
