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
        others: Those that it is compared with; none for all that are meant for the same rows: the
            same ingestion and the same split.

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
    first = _configuration(parameters[pipeline])
    if others:
        chosen = [_configuration(parameters[name]) for name in dict.fromkeys(others)]
    else:
        found = map(_configuration, parameters.values())
        rows = (first.ingestion, first.split)
        chosen = [preset for preset in found if (preset.ingestion, preset.split) == rows]
    return (first, *(preset for preset in chosen if preset.pipeline != pipeline))


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


def _configuration(parameters: Mapping[str, Any]) -> PipelineConfig:
    known = PipelineConfig.model_fields
    return PipelineConfig.model_validate({k: v for k, v in parameters.items() if k in known})
