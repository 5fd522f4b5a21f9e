"""Adult census income: who of 32,561 people of the US earned more than 50,000 dollars in 1994.

An extract without names or ids, so no column is personal. `sex` and `race` are kept to slice by and
to compare groups, and given to no model; `relationship`, which says husband or wife, is a feature,
so a model can still tell them apart, and the gaps between groups show how far it does.
`fnlwgt` is the weight of a row in the survey, and tells nothing of the person.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.datasets.definition import Dataset, PublishedFile
from tasks.formats import read_table
from tasks.handoffs import Column

if TYPE_CHECKING:
    import pyarrow

FILE = "adult.data"
COMMIT = "df974a1966294b9c7acebb1373fd6dc5445d1d3d"
REPOSITORY = "https://raw.githubusercontent.com/shap/shap"
BLANK = "?"


def _number(name: str) -> Column:
    return Column(name=name, role="feature", kind="numeric", integer=True)


def _category(name: str) -> Column:
    return Column(name=name, role="feature", kind="category")


COLUMNS = (
    _number("age"),
    _category("workclass"),
    Column(name="fnlwgt", role="ignored", kind="numeric", integer=True),
    _category("education"),
    _number("education-num"),
    _category("marital-status"),
    _category("occupation"),
    _category("relationship"),
    Column(name="race", role="ignored", kind="category"),
    Column(name="sex", role="ignored", kind="category"),
    _number("capital-gain"),
    _number("capital-loss"),
    _number("hours-per-week"),
    _category("native-country"),
    Column(name="income", role="label", kind="category"),
)


def read(files: Mapping[str, Path]) -> pyarrow.Table:
    """One row per person; the question marks in three of the columns become nulls."""
    import pyarrow.compute as pc

    table = read_table(files[FILE], COLUMNS, first_line="row")[0]
    for place, column in enumerate(COLUMNS):
        if column.kind == "category":
            values = table[column.name]
            known = pc.if_else(pc.equal(values, BLANK), None, values)
            table = table.set_column(place, table.schema.field(place), known)
    return table


DATASET = Dataset(
    name="adult_census",
    title="Adult census income",
    problem="classification",
    columns=COLUMNS,
    files=(
        PublishedFile(
            FILE,
            "df25a4e32ed6f1bd4b3910d21a7bd661a09061eced7cb45555a519d9667cc87b",
            f"{REPOSITORY}/{COMMIT}/data/{FILE}",
        ),
    ),
    folder="adult-census",
    read=read,
    classes=("<=50K", ">50K"),
)
