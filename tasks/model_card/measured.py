"""What a card tells that no stage has measured: the period, each class, how the data has moved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.columns import class_titles
from tasks.handoffs import Column, PreparedData, Snapshot
from tasks.judgement import Evaluation
from tasks.resampling import wilson
from tasks.snapshots import read_snapshot
from tasks.storage import Storage

if TYPE_CHECKING:
    import pyarrow

CONFIDENCE = 0.95


@dataclass(frozen=True)
class ClassFigures:
    """One class on the test rows.

    Args:
        name: Its label; a number where labels are personal.
        train: Training rows of it.
        test: Test rows of it.
        recall: Share of those that are given it; None where there are none.
        low: Lower end of the interval of the recall.
        high: Its upper end.
    """

    name: str
    train: int
    test: int
    recall: float | None
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Shift:
    """How far a column has moved between two snapshots.

    Args:
        column: Its name.
        measure: Of numbers the difference of the means in standard deviations of the earlier ones
            (Cohen's d, with the earlier deviation, which is Glass's delta); else half of the sum of
            all differences of shares, the total variation distance.
        is_mean: Which of the two.
    """

    column: str
    measure: float
    is_mean: bool


@dataclass(frozen=True)
class Movement:
    """How the data has moved since another version was trained.

    Args:
        version: That version.
        rows: Rows of its snapshot.
        same: Whether it is today's snapshot.
        shifts: Of each column that both have, the largest first; of the label first of all.
    """

    version: int
    rows: int
    same: bool
    shifts: tuple[Shift, ...] = ()


@dataclass(frozen=True)
class Measured:
    """All of it.

    Args:
        intervals: Of metrics, their lower and upper end.
        classes: Each class; empty where rows have none.
        period: A column of times, its first and its last day; None where there is none.
        movement: Since the champion before; None where nothing is known of its data.
    """

    intervals: Mapping[str, tuple[float, float]]
    classes: tuple[ClassFigures, ...] = ()
    period: tuple[str, str, str] | None = None
    movement: Movement | None = None


def class_figures(
    storage: Storage, prepared: PreparedData, evaluation: Evaluation
) -> tuple[ClassFigures, ...]:
    """Rows and recall of each class, with the interval of Wilson."""
    if prepared.snapshot.problem != "classification":
        return ()
    truth = storage.array(prepared.test.judged_by)
    right = truth[storage.array(evaluation.predictions).argmax(axis=1) == truth]
    found = np.bincount(right, minlength=len(prepared.classes))
    figures = []
    for number, name in enumerate(
        class_titles(prepared.classes, is_personal=prepared.snapshot.label.personal)
    ):
        train, test = prepared.train.label_counts[number], prepared.test.label_counts[number]
        if not test:
            figures.append(ClassFigures(name, train, test, None))
            continue
        hits = int(found[number])
        ends = wilson(hits, test, CONFIDENCE)
        figures.append(ClassFigures(name, train, test, hits / test, *ends))
    return tuple(figures)


def period_of(storage: Storage, snapshot: Snapshot) -> tuple[str, str, str] | None:
    """The first column of times that is not personal, with its first and its last day."""
    import pyarrow.compute as pc

    for column in snapshot.columns:
        if column.kind != "time" or column.personal:
            continue
        found = pc.min_max(read_snapshot(storage, snapshot, [column.name])[column.name])
        first, last = found["min"].as_py(), found["max"].as_py()
        if first is not None:
            return column.name, f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}"
    return None


def movement_since(
    storage: Storage, snapshot: Snapshot, version: int, before: Snapshot
) -> Movement | None:
    """How the data has moved between two snapshots; None where the earlier one is gone.

    Args:
        storage: Holds both.
        snapshot: Today's.
        version: The version that was trained on the earlier one.
        before: The earlier one.
    """
    if before.file.sha256 == snapshot.file.sha256:
        return Movement(version, before.rows, same=True)
    before = before.model_copy(update={"file": storage.own(before.file)})
    if not storage.can_read(before.file):
        return None
    same_key = before.privacy_key == snapshot.privacy_key
    then = {column.name: _as_stored(column) for column in before.columns}
    compared = [
        column
        for column in snapshot.columns
        if column.role in ("feature", "label")
        and column.kind in ("numeric", "category")
        and then.get(column.name) == _as_stored(column)
        and (same_key or column.protection != "hash")
    ]
    names = [column.name for column in compared]
    new, old = (read_snapshot(storage, side, names) for side in (snapshot, before))
    shifts = [_shift(column, new, old) for column in compared]
    first = snapshot.label.name
    known = [shift for shift in shifts if math.isfinite(shift.measure)]
    known.sort(key=lambda shift: (shift.column != first, -shift.measure))
    return Movement(version, before.rows, same=False, shifts=tuple(known))


def _as_stored(column: Column) -> tuple[object, ...]:
    """What has to be the same for two columns to hold the same kind of values."""
    return column.kind, column.protection, column.range_width, column.prefix_length


def _shift(column: Column, new: pyarrow.Table, old: pyarrow.Table) -> Shift:
    import pyarrow.compute as pc

    now, then = new[column.name], old[column.name]
    if column.kind == "category":
        return Shift(column.name, _total_variation(now, then), is_mean=False)
    means = [pc.mean(values).as_py() for values in (now, then)]
    deviation = pc.stddev(then).as_py()
    if None in means or not deviation:
        return Shift(column.name, math.nan, is_mean=True)
    return Shift(column.name, abs(means[0] - means[1]) / deviation, is_mean=True)


def _total_variation(now: Any, then: Any) -> float:
    shares: list[dict[Any, float]] = []
    for values in (now, then):
        counts = values.value_counts().to_pylist()
        shares.append({pair["values"]: pair["counts"] / len(values) for pair in counts})
    names = set().union(*shares)
    return sum(abs(shares[0].get(n, 0.0) - shares[1].get(n, 0.0)) for n in names) / 2
