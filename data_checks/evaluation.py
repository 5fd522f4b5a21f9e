"""Lets Great Expectations evaluate checks on a table, in memory and without a word."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from data_checks.checks import Check
from data_checks.report import cut

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.datasource.fluent.interfaces import Batch

# What a result may keep about a personal column: how many rows, never which values.
COUNTS = frozenset(
    {
        "element_count",
        "missing_count",
        "missing_percent",
        "unexpected_count",
        "unexpected_percent",
        "unexpected_percent_nonmissing",
        "unexpected_percent_total",
    }
)
SAMPLE = "partial_unexpected_list"
SHOWN = COUNTS | {"observed_value", "details", "partial_missing_list", SAMPLE}


def evaluate(
    frame: pd.DataFrame, checks: Sequence[Check], name: str, examples: int
) -> dict[str, ExpectationValidationResult]:
    """The result of each check, by its name: first all in brief, then the failed ones in detail.

    Args:
        frame: The table; its index must count the rows from 0.
        checks: What to evaluate; every column they need is there.
        name: What the table is called.
        examples: Failing rows to name for each check, at least 1.
    """
    batch = _batch(frame, name)
    results = _validate(batch, checks, name, {"result_format": "BASIC"})
    failed = [check for check in checks if not results[check.name].success]
    # Row numbers are in this format only, and it costs three times the brief one.
    detail = {"result_format": "SUMMARY", "partial_unexpected_count": examples}
    return results | (_validate(batch, failed, name, detail) if failed else {})


def problem(result: ExpectationValidationResult) -> str | None:
    """The first line of what was raised while a check was evaluated; None where nothing was."""
    raised = result.exception_info or {}
    # One description, or one for each metric that could not be computed.
    for entry in [raised, *raised.values()]:
        if isinstance(entry, Mapping) and entry.get("exception_message"):
            return cut(str(entry["exception_message"]), 120)
    return None


def fit_to_show(
    result: ExpectationValidationResult, check: Check, *, hidden: bool
) -> ExpectationValidationResult:
    """The result as the page may show it: no hidden values, no long ones, no tracebacks."""
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult

    kept = SHOWN
    if hidden:
        kept = SHOWN - {SAMPLE} if check.structural else COUNTS
    content = {key: value for key, value in (result.result or {}).items() if key in kept}
    raised = problem(result)
    message = "The check could not be evaluated" if hidden else raised
    return ExpectationValidationResult(
        success=result.success,
        expectation_config=result.expectation_config,
        result=_harmless(content),
        meta=result.meta,
        exception_info={
            "raised_exception": raised is not None,
            "exception_message": _harmless(message) if raised else None,
            "exception_traceback": "" if raised else None,
        },
    )


def _harmless(value: Any) -> Any:
    """The value with each text in it short and escaped, as the page's tables escape nothing."""
    if isinstance(value, str):
        return html.escape(cut(value))
    if isinstance(value, Mapping):
        return {key: _harmless(entry) for key, entry in value.items()}
    return [_harmless(entry) for entry in value] if isinstance(value, list) else value


def _batch(frame: pd.DataFrame, name: str) -> Batch:
    """The table as a batch of a context that lives in memory only and prints nothing."""
    import great_expectations as gx
    from great_expectations.data_context.types import base

    memory = base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    quiet = base.ProgressBarsConfig(globally=False)
    settings = base.DataContextConfig(store_backend_defaults=memory, progress_bars=quiet)
    context = gx.get_context(mode="ephemeral", project_config=settings)
    asset = context.data_sources.add_pandas("frame").add_dataframe_asset(name)
    return asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})


def _validate(
    batch: Batch, checks: Sequence[Check], name: str, detail: dict[str, Any]
) -> dict[str, ExpectationValidationResult]:
    import great_expectations as gx

    suite = gx.ExpectationSuite(name=name, expectations=[_told(check) for check in checks])
    found = batch.validate(suite, result_format=detail).results
    return {result.expectation_config.meta["check"]: result for result in found}


def _told(check: Check) -> Any:
    """The expectation as Great Expectations takes it: with the check's name and words."""
    note = " (a failure only warns)" if check.severity == "warning" else ""
    description = f"{check.name}: expected {check.expected}{note}"
    return check.expectation.copy(
        update={"meta": {"check": check.name}, "description": description}
    )
