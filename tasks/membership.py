"""Which slice a row is in: columns and edges as configured, the number and name of a slice out."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tasks.config import PipelineConfig, SliceConfig
from tasks.errors import ConfigError
from tasks.handoffs import Column, Problem

if TYPE_CHECKING:
    import pyarrow

# categories that are slices of their own; what is beyond is one slice together
MOST_VALUES = 12
# a number with so few different values is sliced by value, not by quartiles
FEW_NUMBERS = 5
BLANK = "(blank)"
WITH_GAPS = ("classification", "regression")


@dataclass(frozen=True)
class SlicedColumn:
    """A column that was asked for.

    Args:
        column: The column.
        edges: Ascending, where ranges begin; empty for quartiles, or for categories.
        sensitive: Whether its groups must be treated alike.
    """

    column: Column
    edges: tuple[float, ...]
    sensitive: bool


@dataclass(frozen=True)
class Partition:
    """The rows of a table in slices, none of them empty.

    Args:
        codes: The number of each row's slice, int32 [rows], from 0.
        names: Of the slices, in order.
        groups: How many of them, the first ones, are a value or a range; blanks and rare values
            come after.
    """

    codes: NDArray[np.int32]
    names: tuple[str, ...]
    groups: int


def sliced_columns(config: SliceConfig, columns: Sequence[Column]) -> tuple[SlicedColumn, ...]:
    """The columns that a configuration asks for, each once, in its order.

    Args:
        config: Names them.
        columns: Those that there are.

    Raises:
        ConfigError: One does not exist or cannot be sliced, or its edges are none.
    """
    edges: dict[str, tuple[float, ...]] = {}
    sensitive: set[str] = set()
    for field, given in (("columns", config.columns), ("sensitive", config.sensitive)):
        for asked in given:
            column, found = _read(f"slices.{field}", asked, columns)
            if field == "sensitive":
                sensitive.add(column.name)
            if column.name in sensitive and column.role == "label":
                raise ConfigError(
                    f"slices.sensitive names {column.name!r}, the label itself; expected a column "
                    "that tells groups apart. Leave it out."
                )
            if found and edges.get(column.name) not in (None, (), found):
                raise ConfigError(
                    f"slices names {column.name!r} with two sets of edges; expected one. Leave one "
                    "out."
                )
            edges[column.name] = found or edges.get(column.name, ())
    named = {column.name: column for column in columns}
    return tuple(SlicedColumn(named[name], edges[name], name in sensitive) for name in edges)


def require_slices(config: PipelineConfig, problem: Problem, columns: tuple[Column, ...]) -> None:
    """Makes sure that what is to be sliced, and judged by slices, can be, before any work.

    Args:
        config: Says what.
        problem: What is predicted.
        columns: The dataset's.

    Raises:
        ConfigError: It cannot.
    """
    wanted, gate = sliced_columns(config.slices, columns), config.gate
    if config.slices.sensitive and problem not in WITH_GAPS:
        raise ConfigError(
            f"slices.sensitive is set for {problem}; expected {' or '.join(WITH_GAPS)}, where each "
            "row is given a class or a value. Name the columns in slices.columns instead."
        )
    for name in ("slice_loss", "slice_minimum"):
        if getattr(gate, name) is not None and not wanted:
            raise ConfigError(
                f"gate.{name} is set and there are no slices; expected columns in slices.columns, "
                f"such as --set slices.columns={sliceable(columns)[0]}."
            )
    for name in ("parity_gap", "odds_gap"):
        if getattr(gate, name) is None:
            continue
        if problem != "classification":
            raise ConfigError(
                f"gate.{name} is set for {problem}; expected classification, as it is about the "
                "shares of rows that are given a class. Leave it out."
            )
        if not config.slices.sensitive:
            raise ConfigError(
                f"gate.{name} is set and no column is sensitive; expected columns in "
                "slices.sensitive whose groups must be treated alike."
            )


def sliceable(columns: Sequence[Column]) -> tuple[str, ...]:
    """Names of the columns by which rows can be sliced; features and others."""
    return tuple(c.name for c in columns if c.role != "identifier" and c.kind != "image")


def partition(values: pyarrow.ChunkedArray, wanted: SlicedColumn, least_rows: int) -> Partition:
    """The slices of some rows by one column; values of personal columns are not in their names.

    Args:
        values: The column, of these rows.
        wanted: What was asked for.
        least_rows: Where a column has many values, those with fewer rows are one slice together.
    """
    column = wanted.column
    blank = values.is_null().to_numpy()
    if column.kind == "category":
        codes, names, groups = _by_value(values, least_rows, personal=column.personal)
    else:
        codes, names = _by_range(_numbers(values, column), blank, wanted)
        groups = len(names)
    if blank.any():
        codes[blank] = len(names)
        names.append(BLANK)
    kept = np.unique(codes)
    numbers: NDArray[np.int32] = np.searchsorted(kept, codes).astype(np.int32)
    return Partition(numbers, tuple(names[code] for code in kept), int(np.sum(kept < groups)))


def _read(field: str, asked: str, columns: Sequence[Column]) -> tuple[Column, tuple[float, ...]]:
    """The column that is asked for, and its edges."""
    named = {column.name: column for column in columns}
    name, mark, text = (asked, "", "") if asked in named else asked.rpartition("=")
    name = name if mark else asked
    can = sliceable(columns)
    if name not in can:
        nearest = difflib.get_close_matches(name, can, n=1)
        hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
        what = "which tells single rows or is an image" if name in named else "which there is not"
        raise ConfigError(
            f"{field} names the column {name!r}, {what}.{hint} Expected some of {', '.join(can)}."
        )
    column = named[name]
    if not mark:
        return column, ()
    try:
        edges = tuple(float(part) for part in text.split(","))
    except ValueError:
        edges = ()
    ascending = all(low < high for low, high in itertools.pairwise(edges))
    are_edges = bool(edges) and ascending and all(map(math.isfinite, edges))
    if column.kind not in ("numeric", "text") or not are_edges:
        expected = (
            "ascending numbers, such as 'age=25,40,65'"
            if column.kind in ("numeric", "text")
            else f"no edges, as it is of kind {column.kind}: {name!r} alone"
        )
        raise ConfigError(f"{field} has {asked!r}; expected {expected}.")
    return column, edges


def _by_value(
    values: pyarrow.ChunkedArray, least_rows: int, *, personal: bool
) -> tuple[NDArray[np.int64], list[str], int]:
    """The largest first; of many values those with few rows together."""
    import pyarrow.compute as pc

    encoded = values.combine_chunks().dictionary_encode()
    labels = encoded.dictionary.to_pylist()
    found = pc.fill_null(encoded.indices, len(labels)).to_numpy(zero_copy_only=False)
    counts = np.bincount(found, minlength=len(labels) + 1)
    order = sorted(range(len(labels)), key=lambda number: (-counts[number], labels[number]))
    if len(order) > MOST_VALUES:
        order = [number for number in order[: MOST_VALUES - 1] if counts[number] >= least_rows]
    place = np.full(len(labels) + 1, len(order))
    place[order] = np.arange(len(order))
    names = [f"group {rank}" for rank in range(1, len(order) + 1)]
    if not personal:
        names = [labels[number] for number in order]
    groups = len(names)
    if others := len(labels) - groups:
        names.append(f"({others:,} other values)")
    return place[found], names, groups


def _numbers(values: pyarrow.ChunkedArray, column: Column) -> NDArray[np.float64]:
    """What ranges are of: a number, a time in microseconds, a text's words; NaN for blanks."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.kind == "text":
        values = pc.count_substring_regex(values, pattern=r"\S+")
    if column.kind == "time":
        values = values.cast(pa.int64())
    numbers: NDArray[np.float64] = values.cast(pa.float64(), safe=False).to_numpy()
    return numbers


def _by_range(
    numbers: NDArray[np.float64], blank: NDArray[np.bool_], wanted: SlicedColumn
) -> tuple[NDArray[np.int64], list[str]]:
    known = np.unique(numbers[~blank])
    edges, column = np.array(wanted.edges), wanted.column
    # a personal number or time is in no name, unless whoever configured it wrote it down
    hidden = column.personal and not len(edges) and column.kind != "text"
    if not len(edges) and column.kind == "numeric" and len(known) <= FEW_NUMBERS:
        names = [f"group {rank}" if hidden else f"{n:g}" for rank, n in enumerate(known, start=1)]
        return np.searchsorted(known, numbers), names
    if not len(edges) and len(known):
        quartiles = np.quantile(numbers[~blank], (0.25, 0.5, 0.75), method="higher")
        edges = np.unique(quartiles[quartiles > known[0]])
    codes = np.searchsorted(edges, numbers, side="right")
    if hidden:
        return codes, [f"range {rank} of {len(edges) + 1}" for rank in range(1, len(edges) + 2)]
    shown = _shown(edges, column)
    unit = " words" if column.kind == "text" else ""
    if not shown:
        return codes, [f"all{unit}"]
    middle = [f"{low} to below {high}{unit}" for low, high in itertools.pairwise(shown)]
    last = f"from {shown[-1]}" if column.kind == "time" else f"{shown[-1]}{unit} or more"
    return codes, [f"below {shown[0]}{unit}", *middle, last]


def _shown(edges: NDArray[np.float64], column: Column) -> list[str]:
    """Edges as names of slices have them: as short as tells them apart."""
    if column.kind == "time":
        times = edges.astype(np.int64).astype("datetime64[us]")
        ways = [[str(time.astype(f"datetime64[{unit}]")) for time in times] for unit in "Dms"]
    else:
        ways = [[f"{edge:,.{digits}g}" for edge in edges] for digits in (4, 6, 9, 17)]
        ways = [way for way in ways if not any("e" in edge for edge in way)] or ways
    return next((way for way in ways if len(set(way)) == len(way)), ways[-1])
