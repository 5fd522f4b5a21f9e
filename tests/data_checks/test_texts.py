from collections.abc import Sequence

import pandas as pd
import pytest

from data_checks.report import CheckReport
from data_checks.runner import run_checks

ROWS = 1_200
MESSAGES = [f"see you at {number}" for number in range(ROWS)]


def check(messages: Sequence[str | None], *, is_personal: bool = False) -> CheckReport:
    labels = ["spam" if number % 5 == 0 else "ham" for number in range(len(messages))]
    frame = pd.DataFrame({"text": pd.Series(messages, dtype="str"), "label": labels})
    personal = frozenset({"text"}) if is_personal else frozenset[str]()
    return run_checks(frame, "sms_spam", personal=personal)[0]


def test_good_texts_pass() -> None:
    assert check(MESSAGES).failures == ()


def test_other_scripts_names_and_emoji_pass_among_others() -> None:
    odd = ["D\u00e9j\u00e0 vu \N{GRINNING FACE}", "\u0645\u0631\u062d\u0628\u0627", ":-)", "7"]
    report = check([*MESSAGES, *odd])
    assert [failure.severity for failure in report.failures] == ["warning"]
    assert "1 of 1,204 rows (under 0.1 %)" in report.failures[0].sentence


DAMAGED = {
    "UTF-8 that was read as Latin-1": "caf\u00c3\u00a9",
    "bytes that made no sense": "caf\ufffd",
    "a control character": "see\x00 you",
}


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED)
def test_damage_done_on_the_way_is_found(damaged: str) -> None:
    messages = [f"{damaged} {n}" if n < 100 else text for n, text in enumerate(MESSAGES)]
    (failure,) = check(messages).failures
    assert (failure.check, failure.severity, failure.failed_rows) == ("damage/text", "error", 100)
    assert "expected whole characters" in failure.sentence
    assert "row 1" in failure.sentence


def test_texts_that_are_too_long_empty_or_foreign_are_found() -> None:
    long = ["x" * 3_000 + str(n) for n in range(100)]
    foreign = [f"\u0645\u0631\u062d\u0628\u0627 {n}" for n in range(100)]
    blank = [None] * 200
    found = {f.check: f.failed_rows for f in check([*MESSAGES, *long, *foreign, *blank]).failures}
    assert found == {"length/text": 100, "script/text": 100, "missing/text": 200}


def test_copies_only_warn_until_they_are_many() -> None:
    (few,) = check([*MESSAGES, *MESSAGES[:100]]).failures
    assert (few.check, few.severity) == ("copies/text", "warning")
    (many,) = check(MESSAGES[:600] * 2).failures
    assert (many.check, many.severity, many.failed_rows) == ("copies/text", "error", 600)


def test_a_personal_text_is_in_no_report() -> None:
    messages = [f"call 0123456 \ufffd {n}" for n in range(ROWS)]
    report = check(messages, is_personal=True)
    assert [failure.check for failure in report.failures] == ["damage/text"]
    assert "0123456" not in report.to_json()
