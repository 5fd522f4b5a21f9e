"""Whatever check fails on a personal column, no value of it is in the report or on its page."""

import pandas as pd
import pytest

from data_checks import runner
from data_checks.checks import (
    Strictness,
    blanks,
    categories,
    images,
    labels,
    numbers,
    text,
    unique,
    value_range,
)
from data_checks.runner import run_checks
from data_checks.tags import word_tags
from data_checks.texts import texts

PLANTED = "Quackenbush"
NUMBER = 7331.25
ROWS = 40


def frame_of(values: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"who": values, "other": ["x"] * ROWS})


TEXTS = [f"{PLANTED} {row % 9}\ufffd" for row in range(ROWS)]
FIGURES = [NUMBER + row % 9 for row in range(ROWS)]
MIXED = [PLANTED if row % 2 else NUMBER for row in range(ROWS)]
STRICT = Strictness(maximum_missing=0)
CASES = {
    "numbers": (TEXTS, lambda: [numbers("who")]),
    "numbers among objects": (MIXED, lambda: [numbers("who")]),
    "text": (FIGURES, lambda: [text("who")]),
    "text among objects": (MIXED, lambda: [text("who")]),
    "blanks": ([*TEXTS[:-9], *[None] * 9], lambda: [blanks("who", 0)]),
    "range": (FIGURES, lambda: [value_range("who", 0, 1)]),
    "range of texts": (TEXTS, lambda: [value_range("who", 0, 1)]),
    "categories": (TEXTS, lambda: [categories("who", ("a", "b"))]),
    "unique": (TEXTS, lambda: [unique("who")]),
    "unique numbers": (FIGURES, lambda: [unique("who")]),
    "labels": (TEXTS, lambda: labels("who", ("a", "b"), STRICT)),
    "texts": (TEXTS, lambda: texts("who", STRICT, longest=3, script="GREEK", copies=0)),
    "tags": (TEXTS, lambda: word_tags("other", "who", ("person",), STRICT)),
    "tagged texts": (TEXTS, lambda: word_tags("who", "other", ("person",), STRICT)),
    "the largest": (FIGURES, lambda: [images("who", 255)[1]]),
}


@pytest.mark.parametrize("case", CASES)
def test_no_check_shows_a_personal_value(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values, build = CASES[case]
    monkeypatch.setattr(runner, "get_suite", lambda _: lambda _: build())
    frame = frame_of(values)
    if case == "the largest":
        frame = frame.assign(who_maximum=frame.pop("who") / 1000)
    report, page = run_checks(
        frame, "trial", personal=frozenset({"who", "who_maximum"}), examples=10
    )
    assert report.failures
    shown = report.to_json() + report.summary(limit=100) + page
    for value in (PLANTED, "7331", "7332", "7,331", "7.33", "Quack"):
        assert value not in shown


def test_the_same_values_are_shown_where_they_are_not_personal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "get_suite", lambda _: lambda _: [categories("who", ("a", "b"))])
    report, page = run_checks(frame_of(TEXTS), "trial")
    assert PLANTED in report.to_json()
    assert PLANTED in page
