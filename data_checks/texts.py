"""Checks of texts: their length, copies of another, damage done on the way, and their script."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from data_checks.checks import Check, Strictness, blanks, failing_rows, text
from data_checks.report import as_percent

if TYPE_CHECKING:
    import pandas as pd

# what decoders leave where bytes made no sense; UTF-8 that was read as Latin-1, by the characters
# that it most often leaves (a closing quote or a space after a last letter is no damage); and
# characters that no keyboard writes, save for tabs and line ends
DAMAGE = (
    r"\ufffd|[\u00c2\u00c3][\u0080-\u00a0\u00a2-\u00aa\u00ac-\u00ba\u00bc-\u00bf]"
    r"|\u00e2[\u0080-\u009f]|\u00f0\u009f|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


def texts(
    name: str,
    strictness: Strictness,
    *,
    longest: int,
    script: str = "LATIN",
    copies: float = 0.05,
) -> list[Check]:
    """The checks that every suite needs for a column of texts.

    Args:
        name: The column.
        strictness: How many blanks are let pass.
        longest: Most characters of a text; a few longer ones only warn.
        script: The script of most letters, by the first word of their Unicode names.
        copies: Up to this share of the rows, 0 to 1, texts that come again only warn.
    """
    return [
        text(name),
        blanks(name, strictness.maximum_missing),
        _check(name, "length", f"1 to {longest:,} characters", lengths, 1, longest),
        _check(name, "damage", "whole characters, as their writer typed them", damages, 0, 0),
        _check(
            name, "script", f"letters that are {script.lower()}, for the most part",
            lambda column: foreign_shares(column, script), 0, 0.5,
        ),
        _check(
            name, "copies", f"at most {as_percent(copies)} texts that came before", earlier_copies,
            0, 0, tolerance=copies,
        ),
    ]  # fmt: skip


def lengths(column: pd.Series) -> pd.Series:
    """Characters of each text, without white space around it; blank where the text is."""
    return column.str.strip().str.len().astype("float64")


def damages(column: pd.Series) -> pd.Series:
    """How many damaged characters each text has; blank where the text is."""
    return column.str.count(DAMAGE).astype("float64")


def foreign_shares(column: pd.Series, script: str) -> pd.Series:
    """Share of each text's letters that are of another script, 0 to 1; 0 for no letters."""
    found: pd.Series = column.map(lambda value: _foreign_share(value, script), na_action="ignore")
    return found.astype("float64")


def earlier_copies(column: pd.Series) -> pd.Series:
    """How many earlier rows have the same text; blank where it is."""
    return column.groupby(column).cumcount().reindex(column.index).where(column.notna())


def _foreign_share(value: str, script: str) -> float:
    if script == "LATIN" and value.isascii():
        return 0.0
    letters = [character for character in value if character.isalpha()]
    foreign = sum(not unicodedata.name(letter, "").startswith(script) for letter in letters)
    return foreign / max(len(letters), 1)


def _check(
    column: str,
    kind: str,
    expected: str,
    measure: Callable[[Any], Any],
    smallest: float,
    largest: float,
    *,
    tolerance: float = 0.01,
) -> Check:
    """A check of a number that is measured of each text."""
    import great_expectations.expectations as gxe

    expectation = gxe.ExpectColumnValuesToBeBetween(
        column=f"{column}_{kind}", min_value=smallest, max_value=largest
    )
    return Check(
        f"{kind}/{column}",
        (column,),
        expected,
        expectation,
        failing_rows(),
        tolerance=tolerance,
        derive=lambda frame: measure(frame[column]),
    )
