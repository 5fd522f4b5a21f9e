"""From checked data to the three sides of the split as arrays, fitted on the training rows only."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks import features
from tasks.config import PreparationConfig, SplitConfig
from tasks.errors import DataError
from tasks.handoffs import Arrays, CheckedData, Column, PreparedData, RunContext, Snapshot
from tasks.snapshots import images, read_snapshot
from tasks.splitting import SIDES, TRAIN, assign_sides, count_duplicates, side_warnings
from tasks.stages import stage
from tasks.storage import Storage
from tasks.unseen import describe_split

if TYPE_CHECKING:
    import pyarrow

logger = logging.getLogger(__name__)
ROWS_AT_LEAST = {"train": 2, "validation": 1, "test": 1}


def class_names(labels: pyarrow.ChunkedArray) -> tuple[str, ...]:
    """The distinct labels, sorted; as numbers where all are whole numbers."""
    names = labels.drop_null().unique().to_pylist()
    whole = all(name.removeprefix("-").isdecimal() for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if whole else None))


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


def encode_targets(table: pyarrow.Table, snapshot: Snapshot) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels as numbers, and the classes.

    Returns:
        Class indices int32 [rows] and the classes in order; or, for regression, float32 [rows] and
        no classes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    labels = table[snapshot.label.name]
    if snapshot.problem == "regression":
        return labels.to_numpy().astype(np.float32), ()
    classes = class_names(labels)
    return pc.index_in(labels, pa.array(classes)).to_numpy().astype(np.int32), classes


def fit_inputs(
    table: pyarrow.Table, snapshot: Snapshot, sides: np.ndarray, config: PreparationConfig
) -> tuple[np.ndarray, features.Fitted]:
    """The network's inputs for all rows, and what was fitted on those that train.

    Returns:
        Images uint8 [rows, height, width, channels] or tables float32 [rows, width]; and the fitted
        values as `tasks.features` describes them.

    Raises:
        DataError: A feature cannot be an input, or its values cannot.
    """
    columns = snapshot.features
    kinds = {column.kind for column in columns}
    try:
        if kinds == {"image"} and len(columns) == 1:
            return _image_inputs(table, columns[0])
        if kinds and kinds <= {"numeric", "category"}:
            frame = table.select([column.name for column in columns]).to_pandas()
            fitted = features.fit(
                frame[sides == TRAIN],
                [column.name for column in columns if column.kind == "numeric"],
                [column.name for column in columns if column.kind == "category"],
                scaling=config.scaling,
                imputation=config.imputation,
                minimum_category_rows=config.minimum_category_rows,
            )
            return features.transform(frame, fitted), fitted
    except ValueError as error:
        raise DataError(f"The rows cannot become inputs of a network. {error}") from error
    raise DataError(
        f"The features of {snapshot.dataset} are of kind {', '.join(sorted(kinds)) or 'none'}; "
        "expected one image, or numeric and category columns. Give the others the role 'ignored' "
        f"in tasks/datasets/{snapshot.dataset}.py."
    )


@stage(
    code=(
        "tasks.columns",
        "tasks.features",
        "tasks.identities",
        "tasks.snapshots",
        "tasks.splitting",
        "tasks.unseen",
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
    targets, classes = encode_targets(table, snapshot)
    if classes:
        warnings += side_warnings(sides, targets, classes)
    inputs, fitted = fit_inputs(table, snapshot, sides, preparation)
    duplicates = count_duplicates(table, snapshot.columns, sides)
    if duplicates:
        warnings += (f"{duplicates:,} rows have an identical twin on another side of the split.",)
    image = snapshot.features[0] if fitted["kind"] == "image" else None
    fitted |= {"label": snapshot.label.name, "problem": snapshot.problem, "classes": list(classes)}
    arrays = {
        name: _store_side(storage, inputs, targets, labelled, sides == side, len(classes))
        for side, name in enumerate(SIDES)
    }
    for warning in warnings:
        logger.warning(warning)
    return PreparedData(
        snapshot=snapshot,
        split=describe_split(table, snapshot.columns, split, sides),
        **arrays,
        preprocessing=storage.put_bytes(features.to_json(fitted).encode(), ".json"),
        classes=classes,
        input_shape=inputs.shape[1:],
        pixel_maximum=image.maximum if image else None,
        duplicates=duplicates,
        warnings=warnings,
    )


def _image_inputs(table: pyarrow.Table, column: Column) -> tuple[np.ndarray, features.Fitted]:
    fitted = features.fit_images(column.name, column.shape or (), column.maximum or 255)
    return features.transform_images(images(table, column), fitted), fitted


def _store_side(
    storage: Storage,
    inputs: np.ndarray,
    targets: np.ndarray,
    rows: np.ndarray,
    chosen: np.ndarray,
    classes: int,
) -> Arrays:
    """One side's arrays as `.npy` files; `rows` are the rows' numbers in the snapshot."""
    labels = targets[chosen]
    stored: dict[str, Any] = {}
    with storage.workspace() as folder:
        for name, array in (("inputs", inputs), ("labels", targets), ("rows", rows)):
            path = folder / f"{name}.npy"
            np.save(path, array[chosen], allow_pickle=False)
            stored[name] = storage.put_file(path)
    counts = np.bincount(labels, minlength=classes).tolist() if classes else ()
    return Arrays(count=len(labels), label_counts=tuple(counts), **stored)
