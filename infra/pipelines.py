"""The pipelines: the deployment blocks of prefect.yaml, and what `--set` changes in them."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ValidationError

from tasks.baselines import require_baseline
from tasks.config import PipelineConfig, StageConfig
from tasks.datasets import get_dataset
from tasks.errors import ConfigError
from tasks.gate import require_known
from tasks.models import require_architecture
from tasks.privacy import require_fitting, treated_columns

ENTRYPOINT = "flows.training.train"
CHANGES_SHOWN = 5


@dataclass(frozen=True)
class Pipeline:
    """One deployment block that trains.

    Args:
        name: Name of the pipeline.
        description: What it is, in a line.
        parameters: The flow's parameters as they stand in the block.
        schedules: Its schedules, each as a person reads it.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    schedules: tuple[str, ...]


class RunChoices(StageConfig):
    """What is chosen for a run and is no part of what is trained; a block may set it as well.

    Args:
        force: Train although nothing changed.
        overlap: What a run does while another of its pipeline is at work.
    """

    force: bool = False
    overlap: Literal["wait", "supersede"] = "wait"


@dataclass(frozen=True)
class Block:
    """One deployment block as it stands in the file.

    Args:
        name: Name of the deployment.
        content: All of it.
        pull: Steps that fetch the code, of the block or else of the whole file.
    """

    name: str
    content: Mapping[str, Any]
    pull: tuple[Mapping[str, Any], ...] = ()

    @property
    def entrypoint(self) -> str:
        """The flow that it deploys."""
        return str(self.content.get("entrypoint", ""))

    @property
    def trains(self) -> bool:
        """Whether it is a pipeline, and not a deployment of another flow."""
        return self.entrypoint == ENTRYPOINT

    @property
    def pipeline(self) -> Pipeline:
        """What it says as a pipeline."""
        return Pipeline(
            name=self.name,
            description=self.content.get("description", ""),
            parameters=dict(self.content.get("parameters") or {}),
            schedules=tuple(_schedule(s) for s in self.content.get("schedules") or ()),
        )


def load_pipelines(path: Path) -> dict[str, Pipeline]:
    """The training pipelines of a file, by name.

    Raises:
        ConfigError: There is no such file, or it is not what Prefect deploys from.
    """
    return {name: block.pipeline for name, block in load_blocks(path).items() if block.trains}


def load_blocks(path: Path) -> dict[str, Block]:
    """All deployment blocks of a file, by name, those of other flows than training included.

    Raises:
        ConfigError: There is no such file, it is not what Prefect deploys from, or a name comes
            twice.
    """
    blocks: dict[str, Block] = {}
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())
        for entry in content["deployments"]:
            pull = entry.get("pull", content.get("pull")) or ()
            block = Block(name=str(entry["name"]), content=dict(entry), pull=tuple(pull))
            [_schedule(schedule) for schedule in entry.get("schedules") or ()]
            if block.name in blocks:
                raise ConfigError(
                    f"The pipelines file {path} has two blocks named {block.name!r}; expected a "
                    "name of its own for each. Rename one."
                )
            blocks[block.name] = block
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(
            f"The pipelines file {path} cannot be read ({error.strerror}); expected a "
            "prefect.yaml. Correct ROUNDHOUSE_PIPELINES."
        ) from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"The pipelines file {path} is not a list of deployments: {_line(error)}. Expected "
            "'deployments:' with a block per pipeline, as Prefect deploys them."
        ) from error
    return blocks


def get_pipeline(pipelines: Mapping[str, Pipeline], name: str) -> Pipeline:
    """The pipeline with a name.

    Raises:
        ConfigError: There is none; the known ones are listed and the nearest suggested.
    """
    if name in pipelines:
        return pipelines[name]
    raise ConfigError(
        f"Unknown pipeline {name!r}.{nearest(name, pipelines)} Known: {', '.join(pipelines)}."
    )


def configure(pipeline: Pipeline, changes: Iterable[str]) -> PipelineConfig:
    """The configuration of a pipeline with changes.

    Args:
        pipeline: The pipeline.
        changes: Each `stage.field=value`, the value written as in YAML.

    Raises:
        ConfigError: An unknown key, dataset, architecture or metric, a wrong type, a value out of
            range, or the name of another pipeline.
    """
    tree: dict[str, Any] = {
        key: dict(value) if isinstance(value, Mapping) else value
        for key, value in pipeline.parameters.items()
    }
    for change in changes:
        _apply(tree, change)
    choices = {key: tree.pop(key) for key in RunChoices.model_fields if key in tree}
    try:
        config = PipelineConfig.model_validate(tree)
        RunChoices.model_validate(choices)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from error
    if config.pipeline != pipeline.name:
        raise ConfigError(
            f"The block {pipeline.name!r} trains the pipeline {config.pipeline!r}; expected its "
            f"own name, or it would move another's champion. Write pipeline: {pipeline.name}."
        )
    dataset = get_dataset(config.ingestion.dataset)
    require_fitting(dataset)
    require_known(config.gate.metric, dataset.problem)
    require_baseline(config, dataset.problem, treated_columns(dataset.columns))
    require_architecture(config.model.architecture)
    return config


def _apply(tree: dict[str, Any], change: str) -> None:
    key, separator, text = change.partition("=")
    stage, _, field = key.strip().partition(".")
    if not separator or not stage or not field:
        raise ConfigError(
            f"Received --set {change!r}; expected stage.field=value, such as training.epochs=3."
        )
    try:
        value = yaml.load(text, Loader=_loader())
    except yaml.YAMLError as error:
        raise ConfigError(
            f"Received --set {change!r}; its value cannot be read: {_line(error)}. Quote it."
        ) from error
    known = PipelineConfig.model_fields
    if stage not in known or not _is_stage(stage):
        stages = [name for name in known if _is_stage(name)]
        raise ConfigError(
            f"Unknown key {key.strip()!r} in --set.{nearest(stage, stages)} "
            f"Known stages: {', '.join(stages)}."
        )
    tree.setdefault(stage, {})[field] = value


def _explain(error: ValidationError) -> str:
    """All that is wrong with a configuration, in a few sentences."""
    sentences = []
    for problem in error.errors(include_url=False)[:CHANGES_SHOWN]:
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            stage, _, field = key.rpartition(".")
            known = list(_stage_fields(stage))
            sentences.append(
                f"Unknown key {key!r}.{nearest(field, known)} Known: {', '.join(known)}."
            )
        elif problem["type"] == "secret":
            sentences.append(f"In {key}, {problem['msg']}.")
        else:
            expected = problem["msg"][0].lower() + problem["msg"][1:]
            sentences.append(f"Received {key}={problem['input']!r}; {expected}.")
    return " ".join(sentences)


def _is_stage(name: str) -> bool:
    annotation = PipelineConfig.model_fields[name].annotation
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _stage_fields(stage: str) -> Iterable[str]:
    annotation = PipelineConfig.model_fields[stage].annotation if stage else PipelineConfig
    return (
        annotation.model_fields
        if isinstance(annotation, type) and issubclass(annotation, BaseModel)
        else ()
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """A question that names the nearest of the known names; empty where none is near."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {found[0]!r}?" if found else ""


def _schedule(block: Mapping[str, Any]) -> str:
    rule = next(
        (f"{kind} {block[kind]}" for kind in ("cron", "interval", "rrule") if kind in block), ""
    )
    return f"{rule.removeprefix('cron ')} {block.get('timezone', '')}".strip()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _loader() -> Any:
    """The safe loader, in C where it was built: ten times faster."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
