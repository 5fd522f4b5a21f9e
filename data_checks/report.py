"""What the checks found: values that a person reads at night and a program reads at any time."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning"]

LONGEST_VALUE = 60
LONGEST_SENTENCE = 400


def cut(text: str, longest: int = LONGEST_VALUE) -> str:
    """The text on one line, with an ellipsis where it was too long."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def as_percent(share: float) -> str:
    """A share as a percentage that never rounds something to nothing, or nearly all to all."""
    percent = 100 * share
    if 0 < percent < 0.1:  # noqa: PLR2004
        return "under 0.1 %"
    if 99.9 < percent < 100:  # noqa: PLR2004
        return "over 99.9 %"
    return f"{percent:.3g} %"


def listed(names: Sequence[str], limit: int = 10) -> str:
    """Quoted names, as many as a line holds."""
    shown = ", ".join(f"'{cut(name)}'" for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


@dataclass(frozen=True)
class CheckFailure:
    """One check that did not hold.

    Args:
        check: Its stable name, as `checks.warn_only` takes it.
        column: The column it is about; None for the whole table.
        sentence: What was expected, what came, in how many rows; at most 400 characters.
        failed_rows: Rows that do not fit; None where the check is not about single rows.
        share: Those rows as a share of all, 0 to 1.
        examples: A few such rows, by number counted from 1, with their values unless personal.
        severity: Whether it stops the run.
    """

    check: str
    column: str | None
    sentence: str
    failed_rows: int | None = None
    share: float | None = None
    examples: tuple[str, ...] = ()
    severity: Severity = "error"


@dataclass(frozen=True)
class CheckReport:
    """Everything that one suite found in one table.

    Args:
        suite: Name of the suite.
        rows: Rows that were checked.
        total: Checks in the suite.
        passed: Checks that held.
        skipped: Checks that could not run, as their column is missing or of another type.
        failures: What did not hold, errors first; several may come from one check.
    """

    suite: str
    rows: int
    total: int
    passed: int
    skipped: int
    failures: tuple[CheckFailure, ...]

    @property
    def errors(self) -> tuple[CheckFailure, ...]:
        """The failures that stop the run."""
        return tuple(failure for failure in self.failures if failure.severity == "error")

    @property
    def warnings(self) -> tuple[CheckFailure, ...]:
        """The failures that are reported only."""
        return tuple(failure for failure in self.failures if failure.severity == "warning")

    def to_json(self) -> str:
        """The whole report as a JSON object."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)

    def summary(self, limit: int = 8) -> str:
        """The report as a few lines of text, of bounded length whatever the data.

        Args:
            limit: Failures shown, each on one line, errors first.
        """
        lines = [
            f"{self.passed:,} of {self.total:,} data checks of '{self.suite}' passed on "
            f"{self.rows:,} rows"
        ]
        if self.failures:
            found = (("error", len(self.errors)), ("warning", len(self.warnings)))
            counts = [f"{count:,} {name}{'s' * (count > 1)}" for name, count in found if count]
            lines[0] += f"; {' and '.join(counts)}"
        if self.skipped:
            lines[0] += f"; {self.skipped:,} could not run"
        lines[0] += ":" if self.failures else "."
        lines += [
            f"  {failure.severity} [{failure.check}] {failure.sentence}"
            for failure in self.failures[:limit]
        ]
        if len(self.failures) > limit:
            lines.append(f"  … and {len(self.failures) - limit:,} more, all in the report.")
        return "\n".join(lines)
