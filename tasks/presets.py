"""Which presets are compared with each other, and on which rows."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.config import PipelineConfig
from tasks.errors import ConfigError

PRESETS_AT_LEAST = 2
logger = logging.getLogger(__name__)


def chosen_presets(
    parameters: Mapping[str, Mapping[str, Any]], pipeline: str, others: Sequence[str]
) -> tuple[PipelineConfig, ...]:
    """The configurations to compare, the named pipeline's first.

    Args:
        parameters: Of each pipeline that there is, by its name.
        pipeline: Name of a pipeline.
        others: Those that it is compared with; none for all of the same dataset.

    Raises:
        ConfigError: There is no pipeline of such a name.
    """
    for name in (pipeline, *others):
        if name not in parameters:
            raise ConfigError(
                f"There is no pipeline {name!r} to compare; there are "
                f"{', '.join(sorted(parameters)) or 'none'}. Name one of them, or deploy it: "
                f"roundhouse deploy {name}."
            )
    dataset = _dataset(parameters[pipeline])
    same = others or [
        name
        for name, found in parameters.items()
        if name != pipeline and _dataset(found) == dataset
    ]
    return tuple(_configuration(parameters[name]) for name in dict.fromkeys((pipeline, *same)))


def on_the_same_rows(presets: Sequence[PipelineConfig]) -> tuple[PipelineConfig, ...]:
    """The presets with the data, checks, split and gate of the first one.

    Raises:
        ConfigError: There are fewer than two, or they are of several datasets.
    """
    names = ", ".join(preset.pipeline for preset in presets)
    if len(presets) < PRESETS_AT_LEAST:
        raise ConfigError(
            f"There is only {names or 'nothing'} to compare; expected at least {PRESETS_AT_LEAST} "
            "pipelines of one dataset. Name others with --with, or add a block of the same dataset "
            "to prefect.yaml."
        )
    datasets = sorted({preset.ingestion.dataset for preset in presets})
    if len(datasets) > 1:
        raise ConfigError(
            f"{names} are of the datasets {', '.join(datasets)}; expected one, as figures on other "
            "rows cannot be compared. Leave out those of another dataset."
        )
    first = presets[0]
    shared = {name: getattr(first, name) for name in ("ingestion", "checks", "split", "gate")}
    for preset in presets[1:]:
        if (preset.ingestion, preset.split) != (first.ingestion, first.split):
            logger.warning(
                "%s has other rows or another split; it is compared on those of %s",
                preset.pipeline,
                first.pipeline,
            )
    return tuple(preset.model_copy(update=shared) for preset in presets)


def _dataset(parameters: Mapping[str, Any]) -> object:
    return dict(parameters.get("ingestion") or {}).get("dataset")


def _configuration(parameters: Mapping[str, Any]) -> PipelineConfig:
    known = PipelineConfig.model_fields
    return PipelineConfig.model_validate({k: v for k, v in parameters.items() if k in known})
