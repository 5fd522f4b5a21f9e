import pytest

from data_checks.report import CheckFailure, CheckReport, as_percent, cut, listed


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "0 %"),
        (0.0001, "under 0.1 %"),
        (0.0123, "1.23 %"),
        (0.5, "50 %"),
        (0.9999, "over 99.9 %"),
        (1, "100 %"),
    ],
)
def test_a_share_is_never_rounded_to_nothing_or_to_all(share: float, words: str) -> None:
    assert as_percent(share) == words


def test_long_and_many_values_are_cut() -> None:
    assert cut("a\n" + "b" * 100) == "a " + "b" * 57 + "…"
    assert listed(["x", "y", "z"], limit=2) == "'x', 'y' and 1 more"


def test_the_summary_counts_errors_and_warnings() -> None:
    failures = (CheckFailure("a", "a", "A."), CheckFailure("b", "b", "B.", severity="warning"))
    report = CheckReport("digits", 12, total=5, passed=2, skipped=1, failures=failures)
    assert report.summary(limit=1).splitlines() == [
        "2 of 5 data checks of 'digits' passed on 12 rows; 1 error and 1 warning; 1 could not run:",
        "  error [a] A.",
        "  … and 1 more, all in the report.",
    ]
