"""Checks of tagged texts: a tag for each word, in the scheme BIO, of known types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from data_checks.checks import Check, Strictness, blanks, failing_rows, observed, text
from data_checks.report import listed

if TYPE_CHECKING:
    import pandas as pd

OUTSIDE = "O"
BEGIN, INSIDE = "B", "I"


def word_tags(name: str, tags: str, types: Sequence[str], strictness: Strictness) -> list[Check]:
    """The checks that every suite needs for texts whose words are tagged.

    Args:
        name: The column of texts, whose words stand between spaces.
        tags: The column with a tag for each word, between spaces as well.
        types: The types of entities that tags may name.
        strictness: How many blanks are let pass.
    """
    import great_expectations.expectations as gxe

    def none_of(kind: str, columns: tuple[str, ...], expected: str, **further: object) -> Check:
        expectation = gxe.ExpectColumnValuesToBeBetween(
            column=f"{tags}_{kind}", min_value=0, max_value=0
        )
        # the texts may be personal, and the tags beside them say little
        return Check(
            f"{kind}/{tags}", columns, expected, expectation, failing_rows(), with_values=False,
            **further,  # type: ignore[arg-type]
        )  # fmt: skip

    return [
        text(tags),
        blanks(tags, 0, tolerance=strictness.maximum_missing),
        none_of(
            "count", (name, tags), "a tag for each word",
            derive=lambda frame: differences(frame[name], frame[tags]),
        ),
        none_of(
            "types", (tags,), f"O, or B- or I- and one of {listed(types)}",
            derive=lambda frame: unknown_tags(frame[tags], types),
        ),
        none_of(
            "order", (tags,), "no I- that continues nothing, as in the scheme BIO",
            tolerance=0.01, derive=lambda frame: misplaced_tags(frame[tags]),
        ),
        _tagged(tags),
    ]  # fmt: skip


def differences(texts: pd.Series, tags: pd.Series) -> pd.Series:
    """How many more words than tags each row has, or fewer; blank where either is."""
    words, tagged = (_counted(column, len) for column in (texts, tags))
    return words - tagged


def unknown_tags(tags: pd.Series, types: Sequence[str]) -> pd.Series:
    """How many tags of each row are none of the scheme or of another type; blank where it is."""
    known = {OUTSIDE, *(f"{position}-{kind}" for position in (BEGIN, INSIDE) for kind in types)}
    return _counted(tags, lambda row: sum(tag not in known for tag in row))


def misplaced_tags(tags: pd.Series) -> pd.Series:
    """How many tags of each row continue no entity of their type; blank where the row is."""
    return _counted(tags, _misplaced)


def entities(tags: pd.Series) -> pd.Series:
    """How many entities begin in each row; 0 where it is blank."""
    return tags.str.count(rf"(?:^|\s){BEGIN}-").fillna(0).astype("int64")


def _tagged(tags: str) -> Check:
    """Without entities there is nothing to learn."""
    import great_expectations.expectations as gxe

    expectation = gxe.ExpectColumnMaxToBeBetween(column=f"{tags}_entities", min_value=1)
    return Check(
        f"entities/{tags}",
        (tags,),
        "an entity in some text",
        expectation,
        observed,
        derive=lambda frame: entities(frame[tags]),
    )


def _misplaced(row: Sequence[str]) -> int:
    before = ["", *row]
    return sum(
        tag.startswith(f"{INSIDE}-") and last[1:] != tag[1:]
        for last, tag in zip(before, row, strict=False)
    )


def _counted(column: pd.Series, count: Callable[[list[str]], int]) -> pd.Series:
    """A number for the words of each row; blank where it is."""
    found: pd.Series = column.map(lambda value: count(value.split()), na_action="ignore")
    return found.astype("float64")
