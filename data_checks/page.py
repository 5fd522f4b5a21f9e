"""The Data Docs page: Great Expectations' own sections in one file that needs no network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult

    from data_checks.report import CheckReport

# The few Bootstrap and Font Awesome classes that the sections use; Great Expectations' own page
# loads them, and scripts, from public hosts. The policy keeps markup in the data from acting.
SHELL = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
:root {{ --line: #8884; --bad: #c62828; --good: #2e7d32; --odd: #b26a00 }}
@media (prefers-color-scheme: dark) {{
  :root {{ --bad: #ff8a80; --good: #81c784; --odd: #ffb74d }}
}}
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto }}
body {{ padding: 0 1rem }}
h1 {{ font-size: 1.5rem; margin: 0 }}
h5 {{ font-size: 1.05rem; margin: 1.6rem 0 .3rem }}
ul.failures {{ padding-left: 1.2rem }}
ul.failures li {{ margin: .35rem 0; overflow-wrap: anywhere }}
code {{ background: #8882; padding: .1rem .3rem; border-radius: 3px }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .6rem }}
th, td {{ border-top: 1px solid var(--line) }}
td {{ overflow-wrap: anywhere }}
td:first-child {{ width: 3.5rem }}
td td:first-child {{ width: auto }}
td:nth-child(2) {{ width: 55% }}
td td:nth-child(2) {{ width: auto }}
.fas {{ font-style: normal; font-weight: bold }}
.fa-check-circle::before {{ content: "\\2713" }}
.fa-times::before {{ content: "\\2717" }}
.fa-exclamation-triangle::before {{ content: "!" }}
.error, .text-danger {{ color: var(--bad) }}
.text-success {{ color: var(--good) }}
.warning, .text-warning {{ color: var(--odd) }}
[data-toggle=collapse], [hidden] {{ display: none }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{headline}</p>
{failures}
{sections}
</body>
</html>
"""


def render(report: CheckReport, results: Sequence[ExpectationValidationResult]) -> str:
    """The report and every single result as one HTML page.

    The same report and results give the same page, byte for byte.

    Args:
        report: What is said at the top.
        results: What Great Expectations found, with nothing in it that must not be shown.
    """
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResult,
    )
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaSectionView

    outcome = ExpectationSuiteValidationResult(
        success=not report.failures,
        results=list(results),
        suite_name=report.suite,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": report.passed,
            "unsuccessful_expectations": len(results) - report.passed,
            "success_percent": None,
        },
    )
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(outcome)
    view = DefaultJinjaSectionView()
    # The first section counts, the last describes the batch: the shell says both in a line.
    sections = [
        view.render({"section": section.to_json_dict(), "section_loop": {"index": number}})
        for number, section in enumerate(document.sections[1:-1], 1)
    ]
    headline = report.summary(limit=0).splitlines()[0].rstrip(":.")
    return SHELL.format(
        title=html.escape(f"Data checks: {report.suite}"),
        headline=html.escape(f"{headline}. Row numbers count from 1."),
        failures=_failures(report),
        sections="\n".join(sections),
    )


def _failures(report: CheckReport) -> str:
    items = [
        f'<li><b class="{failure.severity}">{failure.severity}</b> '
        f"<code>{html.escape(failure.check)}</code> {html.escape(failure.sentence)}</li>"
        for failure in report.failures
    ]
    return f'<ul class="failures">\n{chr(10).join(items)}\n</ul>' if items else ""
