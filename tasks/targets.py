"""What a network learns to say of each row, as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.handoffs import Snapshot
from tasks.inputs import Inputs

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Targets:
    """What is to be predicted.

    Args:
        labels: Of each row, as `tasks.handoffs.Arrays` describes them.
        classes: The labels in the order of their indices; empty where there are none.
        truth: What predictions are judged by, where that is not `labels`.
    """

    labels: np.ndarray
    classes: tuple[str, ...] = ()
    truth: np.ndarray | None = None


def encode_targets(table: pyarrow.Table, snapshot: Snapshot, inputs: Inputs) -> Targets:
    """The labels of all rows as numbers.

    Args:
        table: All rows, each with a label.
        snapshot: Says what is predicted, and which column that is.
        inputs: What the network is given of the same rows.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    labels = table[snapshot.label.name]
    if snapshot.problem == "regression":
        return Targets(labels.to_numpy().astype(np.float32))
    classes = class_names(labels)
    return Targets(pc.index_in(labels, pa.array(classes)).to_numpy().astype(np.int32), classes)


def class_names(labels: pyarrow.ChunkedArray) -> tuple[str, ...]:
    """The distinct labels, sorted; as numbers where all are whole numbers."""
    names = labels.drop_null().unique().to_pylist()
    whole = all(name.removeprefix("-").isdecimal() for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if whole else None))
