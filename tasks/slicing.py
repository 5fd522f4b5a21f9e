"""The model's figures on slices of the test rows, and how alike sensitive groups are treated."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.appraisal import FairnessGap, Slice, Slices
from tasks.clusters import cluster_rows
from tasks.config import GateConfig, SliceConfig
from tasks.fairness import measure_gap
from tasks.handoffs import PreparedData, Problem, RunContext, StoredFile
from tasks.judgement import Evaluation
from tasks.membership import Partition, partition, sliced_columns
from tasks.metrics import measure
from tasks.resampling import metric_interval
from tasks.slice_pictures import draw_slices
from tasks.slice_tables import as_csv, as_json
from tasks.snapshots import read_snapshot
from tasks.stages import stage
from tasks.storage import Storage

# of a slice with more rows, so many are resampled for its interval: there may be many slices
ROWS_RESAMPLED = 5_000


class Measuring:
    """A model's predictions for the test rows, measured on any choice of them.

    Args:
        prepared: Gives the problem and the classes.
        confidence: Of the intervals.
        gate: Gives the metric that gets an interval, and the fewest rows of a group.
        truth: As `tasks.metrics.measure` takes it, of all test rows.
        predictions: As `tasks.outputs` describes them.
        clusters: Which cluster each row is in, [rows]; None where each stands alone.
    """

    def __init__(
        self,
        prepared: PreparedData,
        confidence: float,
        gate: GateConfig,
        truth: NDArray[Any],
        predictions: NDArray[np.floating],
        clusters: NDArray[np.int64] | None,
    ) -> None:
        self._problem: Problem = prepared.snapshot.problem
        self._classes, self._confidence, self._gate = prepared.classes, confidence, gate
        self._truth, self._predictions, self._clusters = truth, predictions, clusters

    def slices(self, partitions: Mapping[str, Partition]) -> tuple[Slice, ...]:
        """The figures in each slice, column by column."""
        return tuple(
            self._slice(column, value, np.flatnonzero(parts.codes == code))
            for column, parts in partitions.items()
            for code, value in enumerate(parts.names)
        )

    def _slice(self, column: str, value: str, rows: NDArray[np.int64]) -> Slice:
        truth, predictions = self._truth[rows], self._predictions[rows]
        figures = measure(self._problem, truth, predictions, classes=self._classes)
        ends = metric_interval(
            self._problem, self._gate.metric, truth, predictions,
            classes=self._classes, confidence=self._confidence, rows_at_most=ROWS_RESAMPLED,
            clusters=None if self._clusters is None else self._clusters[rows],
        )  # fmt: skip
        low, high = ends or (None, None)
        metrics = {name: figure for name, figure in figures.items() if math.isfinite(figure)}
        return Slice(
            column=column, value=value, rows=len(rows), metrics=metrics, low=low, high=high
        )

    def gap(self, column: str, parts: Partition) -> FairnessGap:
        """How alike the groups of a sensitive column are treated."""
        return measure_gap(
            self._problem, column, parts, self._truth, self._predictions, self._classes,
            least_rows=self._gate.slice_rows, confidence=self._confidence,
        )  # fmt: skip


def _stored(storage: Storage, array: NDArray[Any]) -> StoredFile:
    with storage.workspace() as folder:
        path = folder / "membership.npy"
        np.save(path, array, allow_pickle=False)
        return storage.put_file(path)


@stage(
    code=(
        "tasks.canvas",
        "tasks.clusters",
        "tasks.columns",
        "tasks.fairness",
        "tasks.membership",
        "tasks.metrics",
        "tasks.outputs",
        "tasks.resampling",
        "tasks.rescoring",
        "tasks.sequence_metrics",
        "tasks.slice_pictures",
        "tasks.slice_tables",
        "tasks.snapshots",
    )
)
def measure_slices(
    context: RunContext,
    prepared: PreparedData,
    evaluation: Evaluation,
    config: SliceConfig,
    gate: GateConfig,
) -> Slices:
    """Slices the test rows by columns, and measures the model in each slice.

    The columns are read from the snapshot, so one that is no feature can be used as well.

    Raises:
        ConfigError: A column does not exist or cannot be sliced.
        StorageError: The snapshot is gone or was changed.
    """
    wanted = sliced_columns(config, prepared.snapshot.columns)
    if not wanted:
        return Slices(metric=gate.metric, confidence=config.confidence)
    storage = Storage(context.storage_uri)
    rows = storage.array(prepared.test.rows)
    names = [sliced.column.name for sliced in wanted]
    table = read_snapshot(storage, prepared.snapshot, names).take(rows)
    partitions = {
        name: partition(table[name], sliced, gate.slice_rows)
        for name, sliced in zip(names, wanted, strict=True)
    }
    truth = storage.array(prepared.test.judged_by)
    predictions = storage.array(evaluation.predictions)
    clusters = cluster_rows(storage, prepared, rows, gate.clusters)
    measured = Measuring(prepared, config.confidence, gate, truth, predictions, clusters)
    gaps = tuple(
        measured.gap(s.column.name, partitions[s.column.name]) for s in wanted if s.sensitive
    )
    slices = measured.slices(partitions)
    overall = evaluation.metrics.get(gate.metric)
    pictures = draw_slices(gate.metric, slices, overall, least_rows=gate.slice_rows)
    found = Slices(
        metric=gate.metric,
        confidence=config.confidence,
        least_rows=gate.slice_rows,
        table=slices,
        gaps=gaps,
        membership=_stored(storage, np.stack([partitions[n].codes for n in names], axis=1)),
        columns=tuple(names),
        pictures={name: storage.put_bytes(png, ".png") for name, png in pictures.items()},
    )
    report = storage.put_bytes(as_json(found, evaluation).encode(), ".json")
    spreadsheet = storage.put_bytes(as_csv(found).encode(), ".csv")
    return found.model_copy(update={"report": report, "spreadsheet": spreadsheet})
