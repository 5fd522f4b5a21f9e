"""What was trained again beside the registered version: weights and predictions compared."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks import tracking
from tasks.appraisal import Lineage, Reproduction
from tasks.errors import ConfigError
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import TrainedModel
from tasks.judging import open_rows, predict
from tasks.models.archive import load_network
from tasks.registry import Registry
from tasks.repeatability import other_rows
from tasks.stages import stage
from tasks.storage import Storage
from tasks.weights import WeightDifference, weight_difference, weights_digest, weights_of

DIGEST_SHOWN = 12
logger = logging.getLogger(__name__)


@stage(
    code=(
        "tasks.features", "tasks.judging", "tasks.models.archive", "tasks.outputs",
        "tasks.registry", "tasks.texts", "tasks.weights",
    ),
    reuse=False,
)  # fmt: skip
def compare_version(
    context: RunContext,
    lineage: Lineage,
    prepared: PreparedData,
    trained: TrainedModel,
    cautions: tuple[str, ...],
) -> Reproduction:
    """Compares what was trained now with the registered version, weights and predictions.

    Raises:
        ConfigError: The version's files are gone from the registry.
    """
    storage, registered = Storage(context.storage_uri), lineage.registered
    registry = Registry(context, registered.name)
    cautions += other_rows(lineage, prepared)
    with storage.workspace() as folder:
        then = _registered_network(registry, lineage, folder)
        now = storage.path(trained.network)
        expected, found = weights_of(then), weights_of(now)
        rows = open_rows(storage, prepared, prepared.test)
        one, other = (predict(load_network(path), rows) for path in (then, now))
    difference, gap = weight_difference(found, expected), largest_gap(one, other)
    reproduction = Reproduction(
        name=registered.name,
        version=registered.version,
        identical=difference.identical and gap == 0,
        digest=weights_digest(expected),
        reproduced_digest=weights_digest(found),
        arrays=len(expected),
        weight_difference=difference.largest,
        differs_most=difference.name,
        rows=len(rows.truth),
        prediction_difference=gap,
        cautions=cautions,
        sentence=in_a_sentence(lineage, difference, gap, weights_digest(expected), len(rows.truth)),
        seconds=trained.seconds,
    )
    tracking.log_files(context, {"reproduction.json": reproduction.model_dump_json(indent=2)})
    said = [reproduction.sentence, *(f"- {caution}" for caution in cautions)]
    tracking.describe_run(context, "\n".join(said))
    logger.info(reproduction.sentence)
    return reproduction


def largest_gap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Largest absolute difference of two predictions of the same rows; NaN is equal to NaN."""
    if one.shape != other.shape:
        return float("inf")
    told = ~(np.isnan(one) & np.isnan(other))
    gaps = np.abs(one[told].astype(np.float64) - other[told])
    return float(np.nan_to_num(gaps, nan=np.inf).max(initial=0.0))


def in_a_sentence(
    lineage: Lineage, difference: WeightDifference, gap: float, digest: str, compared: int
) -> str:
    """What came of a reproduction.

    Args:
        lineage: Of the version.
        difference: Of the weights.
        gap: Largest difference of the predictions.
        digest: Of the version's weights.
        compared: Rows that were predicted by both.
    """
    who = f"{lineage.registered.name} v{lineage.registered.version}"
    rows = f"{compared:,} test rows"
    if difference.identical and gap == 0:
        return (
            f"{who} came out again bit for bit: all weights are the same (digest "
            f"{digest[:DIGEST_SHOWN]}), and so are the predictions of {rows}"
        )
    weights = f"the weights differ by up to {difference.largest or 0:.2g} ({difference.name})"
    if difference.identical:
        weights = f"the weights are the same (digest {digest[:DIGEST_SHOWN]})"
    elif difference.largest is None:
        weights = "the weights are of other shapes"
    predictions = (
        f"the predictions of {rows} by up to {gap:.2g}"
        if gap
        else (f"the predictions of {rows} are the same")
    )
    return f"{who} came out again, but not bit for bit: {weights}, {predictions}"


def _registered_network(registry: Registry, lineage: Lineage, folder: Path) -> Path:
    """A copy of the network that the version holds."""
    version, suffix = lineage.registered, lineage.trained.suffix
    path = registry.fetch(version.version, f"artifacts/network{suffix}", folder)
    if path is None:
        raise ConfigError(
            f"v{version.version} of {version.name} has no network in the registry any more; "
            "expected the files that were registered. Name another version."
        )
    return path
