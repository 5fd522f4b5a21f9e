"""Which rows of a source are used: those with certain labels, and so many of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.datasets import Dataset
from tasks.errors import ConfigError, DataError
from tasks.handoffs import Column
from tasks.identities import row_identities
from tasks.splitting import identity_columns

if TYPE_CHECKING:
    import pyarrow

CLASSES_AT_LEAST = 2
LABELS_SHOWN = 10


def choose_labels(table: pyarrow.Table, dataset: Dataset, labels: tuple[str, ...]) -> pyarrow.Table:
    """Only the rows with one of these labels; all of them where none is named.

    Raises:
        ConfigError: No row has such a label, or the dataset's rows have no classes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not labels:
        return table
    if dataset.problem != "classification":
        raise ConfigError(
            f"ingestion.labels names {_shown(labels)}, and the problem of {dataset.title} is "
            f"{dataset.problem}; expected classes. Leave it out."
        )
    column = table[dataset.label.name]
    known = column.drop_null().unique().to_pylist()
    if unknown := [label for label in labels if label not in known]:
        others = "others" if dataset.label.personal else f"some of {_shown(sorted(known))}"
        raise ConfigError(
            f"ingestion.labels names {_shown(unknown)}, which no row of {dataset.title} has; "
            f"expected {others}. Correct it."
        )
    return table.filter(pc.is_in(column, pa.array(labels))).combine_chunks()


def expected_labels(
    table: pyarrow.Table, dataset: Dataset, labels: tuple[str, ...]
) -> tuple[str, ...]:
    """The labels that the rows may have, where that is not what the dataset's own file says."""
    if labels or dataset.classes or dataset.problem != "classification":
        return labels
    return tuple(sorted(table[dataset.label.name].drop_null().unique().to_pylist()))


def choose_rows(
    table: pyarrow.Table, columns: tuple[Column, ...], rows: int | None
) -> pyarrow.Table:
    """Only so many rows, in their order; as the data grows, mostly the same ones.

    Args:
        table: All rows.
        columns: The dataset's columns.
        rows: How many to keep; None keeps all.
    """
    if rows is None or rows >= table.num_rows:
        return table
    # another purpose than the split's, else the rows kept would all be on one side
    identities = row_identities(table, identity_columns(columns), purpose="rows")
    kept = np.sort(np.argsort(identities, kind="stable")[:rows])
    return table.take(kept).combine_chunks()


def require_labels(table: pyarrow.Table, dataset: Dataset, expected: tuple[str, ...] = ()) -> None:
    """Refuses rows from which nothing can be learnt.

    Args:
        table: The rows that are used.
        dataset: Says what is predicted.
        expected: The labels, where they are not the dataset's own.

    Raises:
        DataError: All labels are blank, all of one class, or there are fewer rows than classes.
    """
    import pyarrow.compute as pc

    name = dataset.label.name
    labels = pc.unique(table[name].drop_null())
    if len(labels) == 0:
        raise DataError(
            f"The label '{name}' is blank in all {table.num_rows:,} rows; expected a value in "
            "each. Fill it in."
        )
    if len(labels) < CLASSES_AT_LEAST:
        only = "the same" if dataset.label.personal else repr(labels[0].as_py())
        raise DataError(
            f"The label '{name}' is {only} in every row; expected at least "
            f"{CLASSES_AT_LEAST} different ones. Add rows with other labels."
        )
    classes = expected or dataset.classes
    if table.num_rows < len(classes):
        raise DataError(
            f"There are {table.num_rows:,} rows; {dataset.title} has {len(classes)} labels "
            "and needs several rows of each. Add rows, or raise ingestion.rows."
        )


def _shown(labels: Sequence[str]) -> str:
    more = len(labels) - LABELS_SHOWN
    shown = ", ".join(f"'{label[:40]}'" for label in labels[:LABELS_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
