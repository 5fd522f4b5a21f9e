import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_checks.checks import (
    Check,
    Strictness,
    UnknownNameError,
    blanks,
    columns,
    labels,
    numbers,
    row_count,
    value_range,
)
from data_checks.report import CheckReport
from data_checks.runner import run_checks
from data_checks.suites import SUITES
from data_checks.suites.telco_churn import CATEGORIES

ROWS = 200
MEASURES = ("mean radius", "worst area", "area error")


def build(strictness: Strictness) -> list[Check]:
    checks = [row_count(strictness, 100, 1_000_000)]
    for name in MEASURES:
        checks += [numbers(name), blanks(name, strictness.maximum_missing)]
        checks += [value_range(name, 0, 20_000)]
    checks += labels("diagnosis", ("malignant", "benign"), strictness)
    return columns([*MEASURES, "diagnosis"], checks)


@pytest.fixture(autouse=True)
def cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small suite beside those of the datasets."""
    monkeypatch.setitem(SUITES, "cells", build)


def measures(**changes: Any) -> pd.DataFrame:
    """Rows that pass every check, but for the changes: column to {row: value}."""
    numbers = np.random.default_rng(0).uniform(0.1, 1, (ROWS, len(MEASURES)))
    frame = pd.DataFrame(numbers, columns=list(MEASURES))
    frame["diagnosis"] = pd.Series(["malignant", "benign"] * (ROWS // 2), dtype="str")
    for column, values in changes.items():
        name = column.replace("_", " ")
        for row, value in values.items():
            frame.loc[row, name] = value
    return frame


def check(frame: pd.DataFrame, **settings: Any) -> CheckReport:
    return run_checks(frame, "cells", **settings)[0]


def only_sentence(frame: pd.DataFrame, **settings: Any) -> str:
    (failure,) = check(frame, **settings).failures
    return failure.sentence


def test_sound_data_passes_every_check() -> None:
    report = check(measures())
    assert (report.passed, report.total, report.failures) == (16, 16, ())
    assert report.summary() == "16 of 16 data checks of 'cells' passed on 200 rows."


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"mean_radius": {6: 90_000.0}},
            "mean radius: expected finite numbers from 0 to 20,000; 1 of 200 rows (0.5 %) do not "
            "fit, such as row 7 (90000).",
        ),
        (
            {"worst_area": {0: math.inf, 1: -5.5}},
            "worst area: expected finite numbers from 0 to 20,000; 2 of 200 rows (1 %) do not "
            "fit, such as row 1 (inf), row 2 (-5.5).",
        ),
        (
            {"area_error": dict.fromkeys(range(20), None)},
            "area error: expected at most 5 % blanks; 20 of 200 rows (10 %) are blank, such as "
            "row 1, row 2, row 3.",
        ),
        (
            {"diagnosis": {3: "unclear"}},
            "diagnosis: expected one of 'malignant', 'benign'; 1 of 200 rows (0.5 %) have another "
            "value, such as row 4 ('unclear').",
        ),
    ],
)
def test_each_failure_says_what_was_expected_and_what_came(
    changes: dict[str, dict[int, Any]], sentence: str
) -> None:
    sentences = [failure.sentence for failure in check(measures(**changes)).errors]
    assert sentence in sentences


def test_the_share_of_blanks_is_a_setting() -> None:
    frame = measures(area_error=dict.fromkeys(range(20), None))
    assert not check(frame, strictness=Strictness(maximum_missing=0.1)).failures


def test_too_few_rows() -> None:
    sentence = only_sentence(measures().head(50))
    assert sentence == "rows: expected 100 to 1,000,000 rows; came 50."
    assert not check(measures().head(50), strictness=Strictness(minimum_rows=50)).failures


def test_an_empty_table_is_one_failure() -> None:
    report = check(measures().head(0))
    assert [failure.check for failure in report.failures] == ["rows"]


def test_each_missing_column_is_one_failure_and_names_the_nearest() -> None:
    frame = measures().rename(columns={"mean radius": "mean_radius", "diagnosis": "outcome"})
    report = check(frame)
    assert [failure.sentence for failure in report.failures] == [
        "mean radius: expected this column, it is missing; the nearest that came is 'mean_radius'.",
        "diagnosis: expected this column, it is missing; 4 others came.",
        "columns: expected the 4 columns of the suite; came with others: 'mean_radius', 'outcome'.",
    ]
    assert report.skipped == 8


def test_a_missing_column_cannot_be_waved_through() -> None:
    frame = measures().drop(columns=["mean radius"]).assign(note="x")
    report = check(frame, warn_only=frozenset({"columns"}))
    assert [(failure.column, failure.severity) for failure in report.failures] == [
        ("mean radius", "error"),
        (None, "warning"),
    ]


def test_a_column_of_text_instead_of_numbers_is_one_failure() -> None:
    frame = measures().assign(**{"mean radius": "wide"})
    assert only_sentence(frame) == "mean radius: expected numbers; came str."


def test_mixed_types_are_counted() -> None:
    frame = measures().astype({"diagnosis": "object"})
    frame.loc[4, "diagnosis"] = 1
    assert "diagnosis: expected text; 1 of 200 rows" in check(frame).errors[0].sentence


def test_text_in_a_column_that_another_is_derived_from_is_one_failure() -> None:
    report, _ = run_checks(telco(tenure="long"), "telco_churn")
    assert [failure.check for failure in report.errors] == ["type/tenure"]


def test_a_label_that_never_comes() -> None:
    frame = measures().assign(diagnosis=pd.Series(["benign"] * ROWS, dtype="str"))
    sentence = only_sentence(frame)
    assert sentence == (
        "diagnosis: expected each of 'malignant', 'benign' in some row; 'malignant' never came."
    )


def test_a_label_that_is_too_rare() -> None:
    labels = pd.Series(["malignant", *["benign"] * (ROWS - 1)], dtype="str")
    sentence = only_sentence(measures().assign(diagnosis=labels))
    assert sentence == (
        "diagnosis: expected each label in at least 1 % of the rows; 1 of 200 rows (0.5 %) have "
        "a rarer label, such as row 1 ('malignant')."
    )


def test_a_few_rows_without_label_only_warn_and_many_stop() -> None:
    few = check(measures(diagnosis={3: None}))
    assert [failure.check for failure in few.warnings] == ["missing/diagnosis"]
    assert not few.errors
    many = check(measures(diagnosis=dict.fromkeys(range(20), None)))
    assert [failure.check for failure in many.errors] == ["missing/diagnosis"]


def test_a_check_made_a_warning_does_not_stop() -> None:
    frame = measures(mean_radius={0: -1.0})
    report, page = run_checks(frame, "cells", warn_only=frozenset({"range/mean radius"}))
    assert [failure.check for failure in report.warnings] == ["range/mean radius"]
    assert not report.errors
    assert "a failure only warns" in page


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"no check named 'radius'.*range/mean radius"):
        check(measures(), warn_only=frozenset({"radius"}))
    with pytest.raises(
        UnknownNameError, match=r"'iris'; the known ones are .*breast_cancer, cells, digits"
    ):
        run_checks(measures(), "iris")


def test_the_summary_is_bounded_however_much_fails() -> None:
    many = pd.concat([measures()] * 50, ignore_index=True)
    many[list(MEASURES)] = -1.0
    many["diagnosis"] = "x" * 5_000
    report, page = run_checks(many, "cells", examples=20)
    lines = report.summary(limit=2).splitlines()
    assert len(lines) == 4
    assert max(len(line) for line in lines) < 500
    assert lines[-1] == f"  … and {len(report.failures) - 2} more, all in the report."
    assert "x" * 60 not in report.to_json() + page


def test_examples_are_as_many_as_asked_for() -> None:
    frame = measures(mean_radius=dict.fromkeys(range(9), -1.0))
    assert len(check(frame, examples=5).failures[0].examples) == 5
    report, page = run_checks(frame.assign(diagnosis="secret"), "cells", examples=0)
    assert report.failures[0].examples == ()
    assert "secret" not in report.to_json() + page


def test_the_report_is_json_and_counts_rows() -> None:
    content = json.loads(check(measures(mean_radius={6: 90_000.0})).to_json())
    failure = content["failures"][0]
    assert (failure["check"], failure["failed_rows"]) == ("range/mean radius", 1)
    assert failure["share"] == pytest.approx(1 / ROWS)


def test_the_table_stays_as_it_was() -> None:
    frame = measures(mean_radius={6: 90_000.0})
    before = frame.copy()
    check(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_rows_are_numbered_by_position_whatever_the_index() -> None:
    frame = measures(mean_radius={6: 90_000.0})
    assert "row 7 (90000)" in only_sentence(frame.set_axis(range(1000, 1000 + ROWS)))


def test_nothing_is_printed_or_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO):
        check(measures(mean_radius={0: -1.0}))
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert list(tmp_path.iterdir()) == []


def telco(rows: int = 600, **columns: Any) -> pd.DataFrame:
    """Telco rows that pass every check, but for whole columns that are replaced."""
    cycled = {
        name: pd.Series([values[row % len(values)] for row in range(rows)], dtype="str")
        for name, values in CATEGORIES.items()
    }
    frame = pd.DataFrame(cycled).assign(
        customerID=pd.Series([f"person-{row}" for row in range(rows)], dtype="str"),
        tenure=np.arange(rows) % 72,
        MonthlyCharges=50.0,
        TotalCharges=np.arange(rows) % 72 * 50.0,
        Churn=pd.Series(["No", "No", "Yes"] * (rows // 3), dtype="str"),
    )
    return frame.assign(**columns)


def test_personal_values_appear_nowhere() -> None:
    frame = telco(customerID="SECRET-1", gender="SECRET-2", Contract="plain")
    frame.loc[3, "Partner"] = "SECRET-3"
    personal = frozenset({"customerID", "gender", "Partner"})
    report, page = run_checks(frame, "telco_churn", personal=personal)
    assert [failure.check for failure in report.failures] == [
        "unique/customerID",
        "categories/gender",
        "categories/Contract",
        "categories/Partner",
    ]
    everything = report.to_json() + report.summary() + page
    assert "SECRET" not in everything
    assert "such as row 1, row 2, row 3" in report.failures[0].sentence
    assert "'plain'" in report.failures[2].sentence
    assert "plain" in page


def test_personal_values_of_mixed_types_appear_nowhere() -> None:
    frame = telco().astype({"customerID": "object"})
    frame.loc[4, "customerID"] = 987654321
    report, page = run_checks(frame, "telco_churn", personal=frozenset({"customerID"}))
    assert [failure.check for failure in report.failures] == ["type/customerID"]
    assert "987654321" not in report.to_json() + page


def test_charges_that_do_not_agree_only_warn() -> None:
    report, _ = run_checks(telco(TotalCharges=190_000.0), "telco_churn")
    assert [failure.check for failure in report.warnings] == ["agreement/TotalCharges"]
    assert report.warnings[0].examples[0] == (
        "row 1 (tenure 0, MonthlyCharges 50, TotalCharges 190000)"
    )
    assert not report.errors


def test_a_few_unknown_categories_warn_and_many_stop() -> None:
    frame = telco()
    frame.loc[:5, "Contract"] = "Weekly"
    assert [failure.check for failure in run_checks(frame, "telco_churn")[0].warnings] == [
        "categories/Contract"
    ]
    frame.loc[:6, "Contract"] = "Weekly"
    assert [failure.check for failure in run_checks(frame, "telco_churn")[0].errors] == [
        "categories/Contract"
    ]


def test_an_expectation_that_raises_is_one_short_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"size": pd.Series(["SECRET", "b"], dtype="str")})
    monkeypatch.setitem(SUITES, "made_up", lambda _: columns(
        ["size"], [value_range("size", 0, 1)]))  # fmt: skip
    report, page = run_checks(frame, "made_up")
    assert "size: expected finite numbers from 0 to 1; it could not be" in report.summary()
    assert len(report.failures) == 1
    assert "Traceback" not in page
    hidden, page = run_checks(frame, "made_up", personal=frozenset({"size"}))
    assert hidden.failures[0].sentence.endswith("it could not be evaluated.")
    assert "SECRET" not in page
