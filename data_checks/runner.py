"""Runs a suite over a table: everything that does not hold is found, and told, together."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from data_checks import page
from data_checks.checks import Check, Strictness, UnknownNameError
from data_checks.evaluation import evaluate, fit_to_show, problem
from data_checks.report import LONGEST_SENTENCE, CheckFailure, CheckReport, cut, listed
from data_checks.suites import get_suite

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult


def run_checks(
    frame: pd.DataFrame,
    suite_name: str,
    strictness: Strictness | None = None,
    *,
    personal: frozenset[str] = frozenset(),
    warn_only: frozenset[str] = frozenset(),
    examples: int = 3,
) -> tuple[CheckReport, str]:
    """Checks a table; nothing is written anywhere, and the table stays as it is.

    Args:
        frame: One row per row of data; images as their statistics.
        suite_name: Name of the suite.
        strictness: How much is let pass.
        personal: Columns whose values appear nowhere in what is returned.
        warn_only: Names of checks that only warn. A missing column stays an error.
        examples: Rows shown for each failure.

    Returns:
        The report, and the Data Docs page as HTML.

    Raises:
        UnknownNameError: No such suite, or `warn_only` names a check that it does not have.
    """
    # Below a warning, Great Expectations tells hundreds of lines about itself.
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    checks = _with_severities(get_suite(suite_name)(strictness or Strictness()), warn_only)
    frame = frame.reset_index(drop=True)
    runnable = [check for check in checks if _can_run(check, frame)]
    results = evaluate(_with_derived(frame, runnable), runnable, suite_name, max(examples, 1))
    told = _without_consequences(runnable, results)
    failures: list[CheckFailure] = []
    for check in told:
        if check.name == "columns":
            failures += _column_failures(check, frame)
        elif not results[check.name].success:
            failures.append(_failure(check, results[check.name], frame, personal, examples))
    report = CheckReport(
        suite=suite_name,
        rows=len(frame),
        total=len(checks),
        passed=sum(bool(results[check.name].success) for check in told),
        skipped=len(checks) - len(told),
        failures=tuple(sorted(failures, key=lambda failure: failure.severity)),
    )
    shown = [
        fit_to_show(
            results[check.name], check, hidden=not examples or _is_personal(check, personal)
        )
        for check in told
    ]
    return report, page.render(report, shown)


def _with_severities(checks: list[Check], warn_only: frozenset[str]) -> list[Check]:
    unknown = sorted(warn_only - {check.name for check in checks})
    if unknown:
        raise UnknownNameError(
            f"There is no check named {listed(unknown)}; the known ones are "
            f"{', '.join(check.name for check in checks)}."
        )
    return [
        replace(check, severity="warning") if check.name in warn_only else check for check in checks
    ]


def _can_run(check: Check, frame: pd.DataFrame) -> bool:
    if check.name == "columns":
        return True
    return set(check.columns) <= set(frame.columns) and (check.structural or len(frame) > 0)


def _is_personal(check: Check, personal: frozenset[str]) -> bool:
    return not personal.isdisjoint(check.columns)


def _with_derived(frame: pd.DataFrame, checks: Iterable[Check]) -> pd.DataFrame:
    derived: dict[str, Any] = {}
    for check in checks:
        if check.derive is not None:
            try:
                derived[check.expectation.column] = check.derive(frame)
            except (TypeError, ValueError):
                # Text where numbers should be: the type check says so, and this one is not told.
                derived[check.expectation.column] = float("nan")
    return frame.assign(**derived)


def _without_consequences(
    checks: Sequence[Check], results: dict[str, ExpectationValidationResult]
) -> list[Check]:
    """The checks worth telling: of a column of the wrong type, only that it is."""
    mistyped = {
        name
        for check in checks
        if check.name.startswith("type/") and not results[check.name].success
        for name in check.columns
    }
    return [check for check in checks if check.structural or not mistyped & set(check.columns)]


def _column_failures(check: Check, frame: pd.DataFrame) -> list[CheckFailure]:
    """One failure for each missing column, and one for all that were not expected."""
    came = [str(name) for name in frame.columns]
    extra = [name for name in came if name not in check.columns]
    failures = []
    for name in check.columns:
        if name not in came:
            nearest = difflib.get_close_matches(name, extra, n=1)
            hint = (
                f"the nearest that came is '{cut(nearest[0])}'"
                if nearest
                else (f"{len(came):,} others came")
            )
            sentence = f"{name}: expected this column, it is missing; {hint}."
            failures.append(CheckFailure(check.name, name, sentence))
    if extra:
        sentence = f"columns: expected {check.expected}; came with others: {listed(extra)}."
        failures.append(CheckFailure(check.name, None, sentence, severity=check.severity))
    return failures


def _failure(
    check: Check,
    result: ExpectationValidationResult,
    frame: pd.DataFrame,
    personal: frozenset[str],
    examples: int,
) -> CheckFailure:
    content = result.result or {}
    hidden = _is_personal(check, personal)
    raised = problem(result)
    failed = content.get("unexpected_count")
    share = failed / len(frame) if failed is not None and len(frame) else None
    rows = [int(row) for row in content.get("partial_unexpected_index_list") or ()][:examples]
    columns = () if hidden or not check.with_values else check.columns
    shown = tuple(_example(frame, row, columns) for row in rows)
    if raised is not None:
        came = "it could not be evaluated" if hidden else f"it could not be evaluated: {raised}"
    else:
        came = check.came({} if hidden and failed is None and not check.structural else content)
    subject = check.name.partition("/")[2]
    sentence = f"{subject or check.name}: expected {check.expected}; {came}"
    if shown:
        sentence += f", such as {', '.join(shown)}"
    return CheckFailure(
        check=check.name,
        column=subject or None,
        sentence=f"{cut(sentence, LONGEST_SENTENCE - 1)}.",
        failed_rows=failed,
        share=share,
        examples=shown,
        severity="warning" if share is not None and share <= check.tolerance else check.severity,
    )


def _example(frame: pd.DataFrame, row: int, columns: Sequence[str]) -> str:
    """A row by its number, counted from 1, with its values in those columns."""
    values = [_value(frame[name].iloc[row]) for name in columns]
    if len(values) > 1:
        values = [f"{name} {value}" for name, value in zip(columns, values, strict=True)]
    number = f"row {row + 1:,}"
    return f"{number} ({', '.join(values)})" if values else number


def _value(value: Any) -> str:
    import pandas as pd

    if isinstance(value, str):
        return f"'{cut(value)}'"
    return (
        "blank" if pd.isna(value) else cut(f"{value:g}" if isinstance(value, float) else str(value))
    )
