"""Exclusive or: the four corners of a square with a little noise; the smallest data there are."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.datasets.definition import Dataset, PublishedFile
from tasks.formats import read_table
from tasks.handoffs import Column

if TYPE_CHECKING:
    import pyarrow

FILE = "xor.csv"
ROWS = 2_000
# five standard deviations from a corner to the lines between the corners
DEVIATION = 0.1
SEED = 0

COLUMNS = (
    Column(name="left", role="feature", kind="numeric"),
    Column(name="right", role="feature", kind="numeric"),
    Column(name="either", role="label", kind="category"),
)


def make(path: Path) -> None:
    """Writes the rows: as many of each corner, normally distributed around it.

    Args:
        path: The CSV file to write.
    """
    chance = random.Random(SEED)
    lines = [",".join(column.name for column in COLUMNS)]
    for number in range(ROWS):
        corner = (number // 2 % 2, number % 2)
        # four decimals: whatever a machine's mathematics does to the last bits is rounded away
        left, right = (f"{chance.gauss(side, DEVIATION):.4f}" for side in corner)
        lines.append(f"{left},{right},{'no' if corner[0] == corner[1] else 'yes'}")
    path.write_bytes("\n".join([*lines, ""]).encode())


def read(files: Mapping[str, Path]) -> pyarrow.Table:
    """One row per point: where it lies, and whether exactly one of its coordinates is near 1."""
    return read_table(files[FILE], COLUMNS)[0]


DATASET = Dataset(
    name="xor",
    title="Exclusive or, with noise",
    problem="classification",
    columns=COLUMNS,
    files=(
        PublishedFile(
            FILE, "ec325b2d46235a8cde10983d5d8b0d52b68b8e9643faf2ebbc673bf33a479816", make=make
        ),
    ),
    folder="xor",
    read=read,
    classes=("no", "yes"),
)
