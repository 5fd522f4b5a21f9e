"""A configuration as what a run shows of it: flat parameters, or JSON; no secret in either."""

import json
from typing import Any

from tasks import remote
from tasks.config import PipelineConfig


def parameters_of(config: PipelineConfig) -> dict[str, str]:
    """The configuration as flat names and texts: `training.epochs` and `20`."""
    flat: dict[str, str] = {}
    for name, value in shown_configuration(config).items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": _text(part) for key, part in value.items()}
        else:
            flat[name] = _text(value)
    return flat


def shown_configuration(config: PipelineConfig) -> dict[str, Any]:
    """The configuration as JSON, an address in it without what may be a password."""
    content = config.model_dump(mode="json")
    location = config.ingestion.location
    if location and remote.is_remote(location):
        content["ingestion"]["location"] = remote.shown(location)
    return content


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
