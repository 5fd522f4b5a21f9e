"""Which rows train, which validate and which test: pure functions of the rows' content.

A row's side follows from a hash of its identity alone, compared with fixed thresholds, so as data
grows no row ever changes side. That rules out exact stratification, which would have to move rows
whenever the balance of labels changes: the shares of labels differ by sampling error between sides,
and `side_warnings` reports where they differ by more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.config import SplitConfig
from tasks.errors import ConfigError, DataError
from tasks.handoffs import Column
from tasks.identities import row_fractions, row_identities

if TYPE_CHECKING:
    import pyarrow

TRAIN, VALIDATION, TEST = 0, 1, 2
# of rows that could train and are not needed
LEFT_OUT = -1
SIDES = ("train", "validation", "test")
# By chance alone, one in 16,000 of the shares that are looked at is off by more.
STANDARD_ERRORS = 4.0


def identity_columns(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """What makes a row that row: its identifiers, or else everything the model is given.

    The label is never part of it, so a corrected label moves no row, and rows that a model cannot
    tell apart stay together.
    """
    identifiers = tuple(column for column in columns if column.role == "identifier")
    return identifiers or tuple(column for column in columns if column.role == "feature")


def assign_sides(
    table: pyarrow.Table, columns: tuple[Column, ...], config: SplitConfig
) -> np.ndarray:
    """The side of each row.

    With the strategy `time` the boundary lies at a share of the rows, so it moves as newer rows
    arrive, and rows that tested come to validate and then to train: whoever compares with an older
    model goes by the boundary that it had, see `tasks.unseen`. Rows of the same time stay on one
    side. A column with the role `part` is respected: its test rows are the test side, and the
    validation side is taken from the rest.

    Args:
        table: The rows; only identity, part and split columns are read.
        columns: The snapshot's columns.
        config: Strategy, shares and seed.

    Returns:
        int8 [rows]: 0 trains, 1 validates, 2 tests.

    Raises:
        ConfigError: `split.column` is missing, unknown, or cannot serve for the strategy.
        DataError: The part column has something else than train and test, or times are blank.
    """
    column = _split_column(columns, config)
    tested = _published_test_rows(table, columns)
    order = _fractions(table, columns, config, column)
    free = np.ones(table.num_rows, bool) if tested is None else ~tested
    if column is not None and config.strategy == "time":
        order[free] = _newest_first(order[free])
    sides = np.full(table.num_rows, TRAIN, np.int8)
    if tested is None:
        sides[order < config.validation + config.test] = VALIDATION
        sides[order < config.test] = TEST
    else:
        sides[free & (order < config.validation)] = VALIDATION
        sides[tested] = TEST
    return sides


def limit_training_rows(
    table: pyarrow.Table, columns: tuple[Column, ...], sides: np.ndarray, config: SplitConfig
) -> np.ndarray:
    """The sides, with so many training rows of each label as `training_rows_per_label` says.

    Those with the lowest hashes of their identity are kept, so as data grows, mostly the same ones.

    Args:
        table: The rows; only identity and label columns are read.
        columns: The snapshot's columns.
        sides: int8 [rows], from `assign_sides`.
        config: Number and seed.

    Returns:
        int8 [rows]: as `sides`, and -1 for the training rows that are left out.

    Raises:
        ConfigError: The label is not a category.
    """
    most = config.training_rows_per_label
    if most is None:
        return sides
    label = next((column for column in columns if column.role == "label"), None)
    if label is None or label.kind != "category":
        raise ConfigError(
            f"split.training_rows_per_label is {most}, and the label is "
            f"{f'of kind {label.kind}' if label else 'the text itself'}; expected one label of a "
            "few for each row. Leave it out."
        )
    identities = row_identities(
        table, identity_columns(columns), purpose="training rows", seed=config.seed
    )
    labels = table[label.name].combine_chunks().dictionary_encode().indices.to_numpy()
    limited = sides.copy()
    for index in np.unique(labels):
        rows = np.flatnonzero((sides == TRAIN) & (labels == index))
        limited[rows[np.argsort(identities[rows], kind="stable")[most:]]] = LEFT_OUT
    return limited


def side_warnings(
    sides: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]
) -> tuple[str, ...]:
    """Sentences on sides whose labels are not spread as chance would spread them.

    A share is reported when it is off by more than four standard errors of sampling without
    replacement: sqrt(p (1 - p) / n * (N - n) / (N - 1)), see Cochran, Sampling Techniques, 1977,
    section 3.2.

    Args:
        sides: int8 [rows], from `assign_sides`.
        labels: Class index of each row, int [rows].
        classes: Names of the classes.

    Raises:
        DataError: A label has no row that trains, or none that tests.
    """
    warnings = []
    rows = len(sides)
    shares = np.bincount(labels, minlength=len(classes)) / rows
    for side, name in enumerate(SIDES):
        counts = np.bincount(labels[sides == side], minlength=len(classes))
        size = int(counts.sum())
        absent = ", ".join(f"'{classes[index]}'" for index in np.flatnonzero(counts == 0)[:5])
        if absent and side == VALIDATION:
            warnings.append(f"No {name} row has the label {absent}.")
        elif absent:
            raise DataError(
                f"None of the {size:,} {name} rows has the label {absent}; each label is needed "
                "there. Add rows with that label, or try another split.seed or split."
                f"{'test' if side == TEST else 'strategy'}."
            )
        correction = (rows - size) / max(rows - 1, 1)
        errors = np.sqrt(shares * (1 - shares) / max(size, 1) * correction)
        off = np.abs(counts / max(size, 1) - shares)
        warnings += [
            f"The label '{classes[index]}' has {counts[index] / max(size, 1):.1%} of the {name} "
            f"rows and {shares[index]:.1%} of all; chance alone would hardly do that."
            for index in np.flatnonzero((counts > 0) & (off > STANDARD_ERRORS * errors + 1e-12))
        ]
    return tuple(warnings)


def count_duplicates(table: pyarrow.Table, columns: tuple[Column, ...], sides: np.ndarray) -> int:
    """Rows that have an identical twin, in features and label, on another side."""
    if np.any(sides == LEFT_OUT):
        used = np.flatnonzero(sides != LEFT_OUT)
        table, sides = table.take(used), sides[used]
    compared = tuple(column for column in columns if column.role in {"feature", "label"})
    identities = row_identities(table, compared, purpose="duplicates")
    _, group = np.unique(identities, return_inverse=True)
    lowest = np.full(group.max(initial=-1) + 1, TEST, np.int8)
    highest = np.full_like(lowest, TRAIN)
    np.minimum.at(lowest, group, sides)
    np.maximum.at(highest, group, sides)
    return int(np.sum((lowest != highest)[group]))


def _split_column(columns: tuple[Column, ...], config: SplitConfig) -> Column | None:
    if config.strategy == "hash":
        if config.column is None:
            return None
        raise ConfigError(
            f"split.column is '{config.column}', which the strategy 'hash' does not use. Set "
            "split.strategy to 'group' or 'time', or leave split.column out."
        )
    names = ", ".join(column.name for column in columns if column.kind != "image")
    if config.column is None:
        raise ConfigError(
            f"The split strategy '{config.strategy}' needs a column. Set split.column to one of "
            f"{names}."
        )
    found = next((column for column in columns if column.name == config.column), None)
    if found is None:
        raise ConfigError(
            f"split.column is '{config.column}', and the dataset has no such column. Set it to one "
            f"of {names}."
        )
    if config.strategy == "time" and found.kind not in {"time", "numeric"}:
        raise ConfigError(
            f"split.column is '{found.name}', of kind {found.kind}; the strategy 'time' needs a "
            "column of times or numbers. Set split.column to one, or split.strategy to 'group'."
        )
    if found.role == "label":
        raise ConfigError(
            f"split.column is '{found.name}', the label, which would give each side its own "
            "labels. Set it to another column."
        )
    return found


def _published_test_rows(table: pyarrow.Table, columns: tuple[Column, ...]) -> np.ndarray | None:
    part = next((column for column in columns if column.role == "part"), None)
    if part is None:
        return None
    values = table[part.name].to_numpy()
    tested: np.ndarray = values == "test"
    strange = set(values[~tested & (values != "train")].tolist())
    if strange:
        shown = "another value" if part.personal else sorted(map(repr, strange))[0]
        raise DataError(
            f"The column '{part.name}' has {shown}; expected 'train' or "
            "'test' in every row. Mend the source."
        )
    return tested


def _fractions(
    table: pyarrow.Table,
    columns: tuple[Column, ...],
    config: SplitConfig,
    column: Column | None,
) -> np.ndarray:
    """Per row a number: the hash as a fraction, or for `time` the time itself; float64 [rows]."""
    if column is not None and config.strategy == "time":
        return _times(table, column)
    own = row_identities(table, identity_columns(columns), purpose="split", seed=config.seed)
    if column is None:
        return row_fractions(own)
    group = row_identities(table, (column,), purpose="split", seed=config.seed)
    # rows of no known group do not make one large group
    blank = table[column.name].is_null().to_numpy()
    return row_fractions(np.where(blank, own, group))


def _times(table: pyarrow.Table, column: Column) -> np.ndarray:
    import pyarrow as pa

    values = table[column.name]
    if values.null_count:
        raise DataError(
            f"The column '{column.name}' is blank in {values.null_count:,} rows; the split "
            "strategy 'time' needs a time in each. Fill them in, or set split.strategy to 'hash'."
        )
    whole = values.cast(pa.int64()) if column.kind == "time" else values
    times: np.ndarray = whole.cast(pa.float64(), safe=False).to_numpy().copy()
    return times


def _newest_first(times: np.ndarray) -> np.ndarray:
    """The share of rows that are newer, for each row; equal for equal times; float64 [rows]."""
    newer = len(times) - np.searchsorted(np.sort(times), times, side="right")
    share: np.ndarray = newer / max(len(times), 1)
    return share
