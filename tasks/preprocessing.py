"""From checked data to the three sides of the split as arrays, fitted on the training rows only."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from tasks import features
from tasks.config import PreparationConfig, SplitConfig
from tasks.errors import DataError
from tasks.handoffs import Arrays, CheckedData, Column, PreparedData, RunContext
from tasks.inputs import Inputs, fit_inputs
from tasks.snapshots import read_snapshot
from tasks.splitting import (
    SIDES,
    assign_sides,
    count_duplicates,
    limit_training_rows,
    side_warnings,
)
from tasks.stages import stage
from tasks.storage import Storage
from tasks.targets import Targets, encode_targets
from tasks.unseen import describe_split

logger = logging.getLogger(__name__)
ROWS_AT_LEAST = {"train": 2, "validation": 1, "test": 1}


def require_rows(sides: np.ndarray) -> None:
    """Refuses a split that leaves a side without rows.

    Raises:
        DataError: A side has too few rows.
    """
    for side, name in enumerate(SIDES):
        count = int(np.sum(sides == side))
        if count < ROWS_AT_LEAST[name]:
            raise DataError(
                f"The {name} side has {count} of {len(sides):,} rows; expected at least "
                f"{ROWS_AT_LEAST[name]}. Add rows, or change split.validation, split.test or "
                "split.seed."
            )


def treatments_of(columns: tuple[Column, ...]) -> list[dict[str, Any]]:
    """What a server has to do to raw rows, as `tasks.treatments.treated` takes it.

    Args:
        columns: The features of a snapshot.
    """
    said = {"name", "protection", "kind", "range_width", "prefix_length"}
    return [
        column.model_dump(mode="json", include=said)
        for column in columns
        if column.protection != "none"
    ]


@stage(
    code=(
        "tasks.columns",
        "tasks.features",
        "tasks.identities",
        "tasks.inputs",
        "tasks.masking",
        "tasks.models.pretrained",
        "tasks.outputs",
        "tasks.snapshots",
        "tasks.splitting",
        "tasks.targets",
        "tasks.texts",
        "tasks.treatments",
        "tasks.unseen",
        "tasks.vocabularies",
    ),
)
def prepare_data(
    context: RunContext, checked: CheckedData, split: SplitConfig, preparation: PreparationConfig
) -> PreparedData:
    """Splits the rows and makes arrays of them, by what is fitted on the training rows only."""
    storage, snapshot = Storage(context.storage_uri), checked.snapshot
    table = read_snapshot(storage, snapshot)
    labelled = np.flatnonzero(table[snapshot.label.name].is_valid().to_numpy())
    warnings: tuple[str, ...] = ()
    if len(labelled) < table.num_rows:
        warnings = (f"{table.num_rows - len(labelled):,} rows without a label were left out.",)
        table = table.take(labelled).combine_chunks()
    sides = assign_sides(table, snapshot.columns, split)
    require_rows(sides)
    used = limit_training_rows(table, snapshot.columns, sides, split)
    inputs = fit_inputs(table, snapshot, used, preparation)
    targets = encode_targets(table, snapshot, inputs)
    warnings += inputs.warnings
    if snapshot.problem == "classification":
        warnings += side_warnings(sides, targets.labels, targets.classes)
    duplicates = count_duplicates(table, snapshot.columns, used)
    if duplicates:
        warnings += (f"{duplicates:,} rows have an identical twin on another side of the split.",)
    fitted = inputs.fitted | {
        "label": snapshot.label.name,
        "problem": snapshot.problem,
        "classes": list(targets.classes),
    }
    if treatments := treatments_of(snapshot.features):
        fitted |= {"treatments": treatments, "privacy_key": snapshot.privacy_key}
    arrays = {
        name: _store_side(storage, inputs, targets, labelled, used == side)
        for side, name in enumerate(SIDES)
    }
    for warning in warnings:
        logger.warning(warning)
    return PreparedData(
        snapshot=snapshot,
        split=describe_split(table, snapshot.columns, split, sides, snapshot.privacy_key),
        **arrays,
        preprocessing=storage.put_bytes(features.to_json(fitted).encode(), ".json"),
        classes=targets.classes,
        input_shape=inputs.values.shape[1:],
        kind=fitted["kind"],
        pixel_maximum=fitted.get("maximum"),
        codes=tuple(fitted.get("codes", ())),
        vocabulary=fitted.get("vocabulary_size", 0),
        padding=fitted.get("padding", 0),
        duplicates=duplicates,
        warnings=warnings,
    )


def _store_side(
    storage: Storage, inputs: Inputs, targets: Targets, rows: np.ndarray, chosen: np.ndarray
) -> Arrays:
    """One side's arrays as `.npy` files; `rows` are the rows' numbers in the snapshot."""
    arrays = {"inputs": inputs.values, "labels": targets.labels, "rows": rows}
    if targets.truth is not None:
        arrays["truth"] = targets.truth
    stored: dict[str, Any] = {}
    with storage.workspace() as folder:
        for name, array in arrays.items():
            path = folder / f"{name}.npy"
            np.save(path, array[chosen], allow_pickle=False)
            stored[name] = storage.put_file(path)
    counts: list[int] = []
    if targets.classes and targets.labels.ndim == 1:
        counts = np.bincount(targets.labels[chosen], minlength=len(targets.classes)).tolist()
    return Arrays(count=int(chosen.sum()), label_counts=tuple(counts), **stored)
