"""One check: an expectation of Great Expectations with a stable name and its words for people.

The functions below make the checks that every suite needs. What a check is called is a promise:
`checks.warn_only` names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_checks.profile import label_shares
from data_checks.report import Severity, as_percent, cut, listed

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.expectations.expectation import Expectation

NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "float32", "float64")


class UnknownNameError(ValueError):
    """The name of a suite or of a check that does not exist."""


@dataclass(frozen=True)
class Strictness:
    """How much is let pass.

    Args:
        minimum_rows: Fewest rows allowed; None for the suite's own number.
        maximum_missing: Largest share of blanks in a column that may have some, 0 to 1.
        minimum_label_share: Smallest share of the rows each label must have, 0 to 1.
        labels: The labels that rows may have; empty for the suite's own.
    """

    minimum_rows: int | None = None
    maximum_missing: float = 0.05
    minimum_label_share: float = 0.01
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """One named check.

    Args:
        name: Stable; a kind and, after a slash, the column.
        columns: The columns it is about; it is skipped where one of them is missing.
        expected: What should come, to follow the word "expected".
        expectation: What Great Expectations evaluates.
        came: What came instead, in words, from the expectation's result.
        severity: Whether a failure stops the run.
        tolerance: Up to this share of failing rows, 0 to 1, a failure only warns.
        derive: Makes the column that the expectation looks at, where the table has none.
        with_values: Whether an example row says more with its values than by its number alone.
        structural: It is about columns, types and counts, so it also runs where there are no rows,
            and its observed value says nothing about a person.
    """

    name: str
    columns: tuple[str, ...]
    expected: str
    expectation: Expectation
    came: Callable[[Mapping[str, Any]], str]
    severity: Severity = "error"
    tolerance: float = 0.0
    derive: Callable[[pd.DataFrame], pd.Series] | None = None
    with_values: bool = True
    structural: bool = False


def observed(result: Mapping[str, Any]) -> str:
    """The one value that came, as a result holds it."""
    value = result.get("observed_value")
    if isinstance(value, int | float):
        return f"came {value:,g}" if isinstance(value, float) else f"came {value:,}"
    return f"came {'another value' if value is None else cut(str(value))}"


def failing_rows(phrase: str = "do not fit") -> Callable[[Mapping[str, Any]], str]:
    """Says how many rows failed, and of how many."""

    def came(result: Mapping[str, Any]) -> str:
        failed, rows = result["unexpected_count"], result["element_count"]
        return f"{failed:,} of {rows:,} rows ({as_percent(failed / rows)}) {phrase}"

    return came


def columns(names: Sequence[str], others: Sequence[Check]) -> list[Check]:
    """All the checks of a suite, headed by the one that the table has just these columns.

    Args:
        names: Every column that the table must have.
        others: The other checks; what they derive is no surprise.
    """
    import great_expectations.expectations as gxe

    derived = [check.expectation.column for check in others if check.derive is not None]
    expectation = gxe.ExpectTableColumnsToMatchSet(
        column_set=sorted({*names, *derived}), exact_match=True
    )
    expected = f"the {len(names)} columns of the suite"
    return [
        Check("columns", tuple(names), expected, expectation, observed, structural=True),
        *others,
    ]


def row_count(strictness: Strictness, minimum: int, maximum: int) -> Check:
    """The number of rows; the minimum is the suite's own unless the strictness has one."""
    import great_expectations.expectations as gxe

    fewest = minimum if strictness.minimum_rows is None else strictness.minimum_rows
    expectation = gxe.ExpectTableRowCountToBeBetween(min_value=fewest, max_value=maximum)
    expected = f"{fewest:,} to {maximum:,} rows"
    return Check("rows", (), expected, expectation, observed, structural=True)


def numbers(column: str) -> Check:
    """The column holds numbers, not text."""
    import great_expectations.expectations as gxe

    expectation = gxe.ExpectColumnValuesToBeInTypeList(column=column, type_list=list(NUMBERS))
    return _type(column, "numbers", expectation)


def text(column: str) -> Check:
    """The column holds text."""
    import great_expectations.expectations as gxe

    # The expectation for a list of types does not know the string type of pandas 3.
    expectation = gxe.ExpectColumnValuesToBeOfType(column=column, type_="str")
    return _type(column, "text", expectation)


def blanks(column: str, largest: float, *, tolerance: float = 0.0) -> Check:
    """At most this share of the column is blank; a number that is not a number counts as blank."""
    import great_expectations.expectations as gxe

    expectation = gxe.ExpectColumnValuesToNotBeNull(column=column, mostly=1 - largest)
    expected = f"at most {as_percent(largest)} blanks" if largest else "no blanks"
    return Check(
        f"missing/{column}",
        (column,),
        expected,
        expectation,
        failing_rows("are blank"),
        tolerance=tolerance,
        with_values=False,
    )


def value_range(
    column: str, smallest: float, largest: float, *, expected: str = "", tolerance: float = 0.0
) -> Check:
    """Each number is finite and between the two, both included."""
    import great_expectations.expectations as gxe

    expectation = gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=smallest, max_value=largest
    )
    words = expected or f"finite numbers from {smallest:,g} to {largest:,g}"
    return Check(
        f"range/{column}", (column,), words, expectation, failing_rows(), tolerance=tolerance
    )


def categories(column: str, values: Sequence[str], *, tolerance: float = 0.01) -> Check:
    """Each value is a known one; a few unknown ones only warn, as models have a place for them."""
    import great_expectations.expectations as gxe

    expectation = gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(values))
    return Check(
        f"categories/{column}",
        (column,),
        f"one of {listed(values)}",
        expectation,
        failing_rows("have another value"),
        tolerance=tolerance,
    )


def unique(column: str) -> Check:
    """No value comes twice."""
    import great_expectations.expectations as gxe

    expectation = gxe.ExpectColumnValuesToBeUnique(column=column)
    return Check(
        f"unique/{column}",
        (column,),
        "a different value in each row",
        expectation,
        failing_rows("share theirs with another row"),
    )


def labels(column: str, values: Sequence[str], strictness: Strictness) -> list[Check]:
    """Text, only known labels, all of them there, none too rare.

    A few blanks only warn: rows without a label are left out of the training.

    Args:
        column: The label.
        values: The suite's own labels, unless the strictness has others.
        strictness: How much is let pass.
    """
    import great_expectations.expectations as gxe

    values = strictness.labels or values

    def absent(result: Mapping[str, Any]) -> str:
        never = result.get("partial_missing_list") or ("some",)
        return f"{listed([str(value) for value in never])} never came"

    smallest = strictness.minimum_label_share
    presence = Check(
        f"labels/{column}",
        (column,),
        f"each of {listed(values)} in some row",
        gxe.ExpectColumnDistinctValuesToContainSet(column=column, value_set=list(values)),
        absent,
    )
    balance = Check(
        f"balance/{column}",
        (column,),
        f"each label in at least {as_percent(smallest)} of the rows",
        gxe.ExpectColumnValuesToBeBetween(column=f"{column}_share", min_value=smallest),
        failing_rows("have a rarer label"),
        derive=lambda frame: label_shares(frame[column]),
    )
    known = categories(column, values, tolerance=0)
    unlabelled = blanks(column, 0, tolerance=strictness.maximum_missing)
    return [text(column), unlabelled, known, presence, balance]


def images(name: str, largest: int) -> list[Check]:
    """Pixels in their range and using it, few images of one shade, few copies of another.

    Args:
        name: The image's column; its statistics are in `{name}_mean` and so on.
        largest: The largest value a pixel can take.
    """
    import great_expectations.expectations as gxe

    brightest, spread, copies = f"{name}_maximum", f"{name}_std", f"{name}_copies"
    low, high = largest / 500, largest * 0.9
    average = f"an average pixel from {low:g} to {high:g} in each image"
    span = gxe.ExpectColumnMaxToBeBetween(column=brightest, min_value=largest // 2)
    varied = gxe.ExpectColumnValuesToBeBetween(column=spread, min_value=0, strict_min=True)
    single = gxe.ExpectColumnValuesToBeBetween(column=copies, max_value=0)
    bright = f"a pixel of at least {largest // 2} in the brightest image"
    shades, twice = failing_rows("are of one shade"), failing_rows("repeat an earlier row")
    return [
        value_range(brightest, 0, largest, expected=f"pixels from 0 to {largest}"),
        Check(f"span/{name}", (brightest,), bright, span, observed),
        value_range(f"{name}_mean", low, high, expected=average, tolerance=0.01),
        Check(f"blank/{name}", (spread,), "more than one shade in each image", varied, shades,
              tolerance=0.01, with_values=False),
        Check(f"copies/{name}", (copies,), "no image twice", single, twice,
              tolerance=0.05, with_values=False),
    ]  # fmt: skip


def _type(column: str, words: str, expectation: Expectation) -> Check:
    def came(result: Mapping[str, Any]) -> str:
        # A column of Python objects is judged value by value, any other by its one type.
        return failing_rows()(result) if "unexpected_count" in result else observed(result)

    return Check(f"type/{column}", (column,), words, expectation, came, structural=True)
