"""What data_checks relies on in Great Expectations; looked at first when its version changes."""

import importlib.util
import subprocess
import sys
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd

from data_checks.checks import labels, text
from data_checks.evaluation import _batch


def result(expectation: Any, form: str = "SUMMARY", **columns: Any) -> Any:
    batch = _batch(pd.DataFrame(columns), "frame")
    detail = {"result_format": form, "partial_unexpected_count": 2}
    suite = gx.ExpectationSuite(name="frame", expectations=[expectation])
    return batch.validate(suite, result_format=detail).results[0]


def test_data_checks_import_it_only_when_they_run() -> None:
    code = "import sys, data_checks.runner; print(sorted(set(sys.modules) & set(sys.argv[1:])))"
    heavy = ["great_expectations", "pandas", "pyarrow", "scipy", "sqlalchemy"]
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_summary_form_has_row_numbers_and_the_basic_form_has_not() -> None:
    expectation = gxe.ExpectColumnValuesToBeBetween(column="size", max_value=1)
    sizes = [0, 5, 6, 7]
    assert result(expectation, size=sizes).result["partial_unexpected_index_list"] == [1, 2]
    assert "partial_unexpected_index_list" not in result(expectation, "BASIC", size=sizes).result


def test_blanks_are_left_out_of_other_checks_and_infinity_is_not() -> None:
    expectation = gxe.ExpectColumnValuesToBeBetween(column="size", max_value=1)
    assert result(expectation, size=[None, 0.5]).success
    assert not result(expectation, size=[float("inf"), 0.5]).success


def test_the_list_of_types_does_not_know_the_string_type_of_pandas() -> None:
    column = pd.Series(["a"], dtype="str")
    known = gxe.ExpectColumnValuesToBeInTypeList(column="size", type_list=["str"])
    assert not result(known, size=column).success
    assert result(text("size").expectation, size=column).success


def test_labels_that_never_came_are_listed() -> None:
    from data_checks.checks import Strictness

    presence = labels("kind", ("a", "b", "c"), Strictness())[3].expectation
    found = result(presence, kind=pd.Series(["a", "a"], dtype="str"))
    assert sorted(found.result["partial_missing_list"]) == ["b", "c"]


def test_tables_of_the_page_escape_nothing() -> None:
    """If this fails, `evaluation._harmless` escapes twice and can go."""
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaSectionView

    expectation = gxe.ExpectColumnValuesToBeInSet(column="kind", value_set=["a"])
    batch = _batch(pd.DataFrame({"kind": ["<b>bold"]}), "frame")
    suite = gx.ExpectationSuite(name="frame", expectations=[expectation])
    sections = ValidationResultsPageRenderer().render(batch.validate(suite)).sections
    content = {"section": sections[1].to_json_dict(), "section_loop": {"index": 1}}
    assert "<b>bold" in DefaultJinjaSectionView().render(content)


def test_the_version_is_the_one_these_facts_were_read_in() -> None:
    assert gx.__version__.startswith("1.24."), "read the facts above anew, then change this"


def test_it_has_no_telemetry() -> None:
    assert importlib.util.find_spec("great_expectations.analytics") is None
