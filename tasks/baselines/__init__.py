"""The simplest models that a network must beat: prepared data in, predictions out.

One file for each kind of rows or problem; what they give is predictions for all test rows, as
`tasks.outputs` describes them, by the name of the baseline.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tasks.baselines.arrays import baseline_predictions
from tasks.baselines.seasons import seasonal_predictions, time_column
from tasks.baselines.sequences import tag_predictions, unigram_predictions
from tasks.baselines.texts import text_baselines
from tasks.config import EvaluationConfig, PipelineConfig
from tasks.handoffs import Column, PreparedData, Problem
from tasks.snapshots import texts_of
from tasks.storage import Storage

# they look at no feature; the first of these that was measured is the one to beat
SIMPLEST = ("seasonal_naive", "unigram", "majority", "mean")


def simplest_of(baselines: Mapping[str, Mapping[str, float]]) -> str:
    """Name of the baseline that a model has to beat, among those that were measured."""
    return next(name for name in SIMPLEST if name in baselines)


def require_baseline(config: PipelineConfig, problem: Problem, columns: tuple[Column, ...]) -> None:
    """Makes sure that a dataset has what the baseline needs, before anything is trained.

    Args:
        config: Names the dataset and the baseline.
        problem: What is predicted.
        columns: The dataset's.

    Raises:
        ConfigError: It has not.
    """
    if config.evaluation.baseline == "seasonal_naive":
        time_column(config.ingestion.dataset, problem, columns, config.split.column)


def find_baselines(
    config: EvaluationConfig, prepared: PreparedData, storage: Storage
) -> Mapping[str, NDArray[np.floating]]:
    """Fits the baselines on the training rows and predicts the test rows.

    Args:
        config: Says which.
        prepared: The rows.
        storage: Where they are.
    """
    found: dict[str, NDArray[np.floating]] = {}
    kind: Literal["linear", "boosting"] = "linear"
    if config.baseline == "seasonal_naive":
        found["seasonal_naive"] = seasonal_predictions(config, prepared, storage)
    else:
        kind = config.baseline
    if prepared.snapshot.problem == "token_classification":
        return _of_words(prepared, storage)
    if prepared.snapshot.problem == "text_generation":
        learnt, tested = (storage.array(side.labels) for side in (prepared.train, prepared.test))
        return unigram_predictions(learnt, tested, prepared.vocabulary)
    if prepared.kind == "text":
        return found | text_baselines(kind, prepared, storage)
    return found | baseline_predictions(
        kind,
        *storage.inputs_and_labels(prepared.train),
        storage.array(prepared.test.inputs, is_mapped=True),
        classes=len(prepared.classes),
        pixel_maximum=prepared.pixel_maximum,
        codes=prepared.codes,
    )


def _of_words(prepared: PreparedData, storage: Storage) -> Mapping[str, NDArray[np.floating]]:
    train, test = (
        [text.split() for text in texts_of(storage, prepared.snapshot, storage.array(side.rows))]
        for side in (prepared.train, prepared.test)
    )
    tags = storage.array(prepared.train.judged_by)
    return tag_predictions(train, tags, test, len(prepared.classes))
