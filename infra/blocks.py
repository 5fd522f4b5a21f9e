"""What a deployment block asks for: its flow, form, parameters, schedules, pool and description."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.automations import TAG
from infra.clusters.profiles import Resources, read_resources
from infra.clusters.several_nodes import require_for_nodes
from infra.forms import pipeline_form, plain_form, require_valid, training_form
from infra.pipelines import Block, configure, load_pipelines, nearest
from infra.pools import pool_of, require_name
from infra.schedules import Schedule, read_schedules
from tasks.config import GateConfig, PipelineConfig
from tasks.datasets import get_dataset
from tasks.errors import ConfigError
from tasks.models import fields_used
from tasks.settings import Settings

if TYPE_CHECKING:
    from prefect import Flow

KEYS = (
    "name", "description", "tags", "version", "entrypoint", "parameters", "schedules", "work_pool",
    "concurrency_limit", "enforce_parameter_schema", "pull", "resources",
)  # fmt: skip
POOL_KEYS = ("name", "work_queue_name", "job_variables")
# what a gate asks of slices and of groups
SLICE_DEMANDS = {
    "slice_minimum": "{metric} of {bound:g} or better in every slice",
    "slice_loss": "no slice that loses more than {bound:g} against the champion",
    "parity_gap": "a gap of demographic parity of {bound:g} at most",
    "odds_gap": "a gap of equalised odds of {bound:g} at most",
}
# flows that are asked about one of the pipelines
ABOUT_A_PIPELINE = ("flows.promoting.promote", "flows.promoting.roll_back")
STRATEGIES = ("ENQUEUE", "CANCEL_NEW")


@dataclass(frozen=True)
class Request:
    """One deployment as the file asks for it.

    Args:
        name: Name of the deployment.
        flow: Name of its flow.
        choices: What the UI can change as well, by the names of Prefect's API.
        facts: What follows from the code alone.
        schedules: Its schedules.
        resources: What its runs are given on Kubernetes; None for what is usual there.
    """

    name: str
    flow: str
    choices: Mapping[str, Any]
    facts: Mapping[str, Any]
    schedules: tuple[Schedule, ...]
    resources: Resources | None = None


def read_block(block: Block, settings: Settings) -> Request:
    """What a block asks for.

    Raises:
        ConfigError: It asks for what there is not.
    """
    content = block.content
    _require_known(block.name, content, KEYS, "the block of ")
    pool = content.get("work_pool") or {}
    pool = pool if isinstance(pool, Mapping) else {"name": pool}
    _require_known(block.name, pool, POOL_KEYS, "work_pool of ")
    flow = load_flow(block)
    parameters = dict(content.get("parameters") or {})
    tags, description = [TAG], str(content.get("description") or "")
    form = plain_form(flow)
    resources = read_resources(content.get("resources"), block.name)
    job_variables = _job_variables(pool.get("job_variables") or {}, settings)
    if block.trains:
        config = configure(block.pipeline, ())
        require_for_nodes(block.name, resources, config, job_variables["env"], settings)
        form = training_form(form, config, parameters)
        tags.append(config.ingestion.dataset)
        description = describe(description, config)
    elif block.entrypoint in ABOUT_A_PIPELINE:
        form = pipeline_form(form, list(load_pipelines(settings.pipelines)))
    require_valid(block.name, form, parameters)
    name = pool_of(pool.get("name"), settings)
    require_name(name)
    limit, options = _limit(block.name, content.get("concurrency_limit"))
    return Request(
        name=block.name,
        flow=flow.name,
        choices={
            "description": description,
            "tags": sorted({*tags, *map(str, content.get("tags") or ())}),
            "parameters": parameters,
            "work_pool_name": name,
            "work_queue_name": str(pool.get("work_queue_name") or "default"),
            "job_variables": job_variables,
            "concurrency_limit": limit,
            "concurrency_options": options,
            "enforce_parameter_schema": bool(content.get("enforce_parameter_schema", True)),
        },
        facts={
            "version": str(content.get("version") or code_version()),
            "entrypoint": block.entrypoint,
            "pull_steps": list(block.pull),
            "parameter_openapi_schema": form,
        },
        schedules=_schedules(block, form, parameters),
        resources=resources,
    )


def _schedules(
    block: Block, form: Mapping[str, Any], parameters: Mapping[str, Any]
) -> tuple[Schedule, ...]:
    """The schedules of a block, each with parameters that make a run."""
    schedules = read_schedules(block.name, block.content.get("schedules"))
    for schedule in schedules:
        # as Prefect puts them together for a run, which it does not check
        merged = {**parameters, **schedule.parameters}
        require_valid(f"schedule {schedule.slug} of {block.name}", form, merged, complete=True)
    return schedules


def _job_variables(given: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """What the runs of a block are started with, also by workers that know none of our settings.

    Runs that give signs of life more rarely than the automations expect would be taken for dead.
    """
    signs = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(settings.heartbeat_seconds)}
    return {**given, "env": {**signs, **(given.get("env") or {})}}


def load_flow(block: Block) -> "Flow[..., Any]":
    """The flow that a block deploys.

    Raises:
        ConfigError: There is none at its entrypoint.
    """
    from prefect import Flow

    module, _, name = block.entrypoint.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{block.name} has the entrypoint {block.entrypoint!r}, which cannot be imported "
            f"({error}); expected a module and a flow, such as flows.training.train."
        ) from error
    if isinstance(found, Flow):
        return found
    raise ConfigError(
        f"{block.name} has the entrypoint {block.entrypoint!r}, which is no flow but "
        f"{type(found).__name__}; expected a function with @flow, such as flows.training.train."
    )


def code_version() -> str:
    """The commit of the code, or the version of the package where there is no git."""
    from importlib import metadata

    from tasks.lineage import git_state

    state = git_state()
    if commit := state.get("mlflow.source.git.commit"):
        return commit[:10] + (" and changes" if state["roundhouse.git_dirty"] == "true" else "")
    return metadata.version("roundhouse-ml")


def describe(description: str, config: PipelineConfig) -> str:
    """What the page of a deployment says, in Markdown."""
    dataset, model = get_dataset(config.ingestion.dataset), config.model
    values = {name: getattr(model, name) for name in fields_used(model.architecture)}
    network = ", ".join([model.architecture, *(_told(*item) for item in values.items())])
    return (
        f"{description or dataset.title}\n\n"
        "Checks the data, trains, judges the result against the model in service, registers it, "
        "and puts it in service when it has earned it. Nothing new, nothing done: *force* trains "
        "all the same.\n\n"
        f"- **Dataset** {dataset.title} (`{dataset.name}`, {dataset.problem} of "
        f"`{dataset.label.name}`)\n"
        f"- **Model** {network}; at most {config.training.epochs} epochs\n"
        f"- **Gate** {_gate(config.gate)}\n"
    )


def _told(name: str, value: object) -> str:
    """A field of the network with its value, as in "hidden units 64, 32"."""
    parts = value if isinstance(value, tuple) else (value,)
    shown = ", ".join(str(part) for part in parts if part is not None)
    return f"{name.replace('_', ' ')} {shown or 'none'}"


def _gate(gate: GateConfig) -> str:
    demands = [] if gate.minimum is None else [f"{gate.metric} of {gate.minimum:g} or better"]
    if gate.beat_baseline:
        demands.append("better than the simplest baseline")
    if gate.compare_with_champion:
        demands.append("not worse than the champion on the same rows")
    for name, words in SLICE_DEMANDS.items():
        bound = getattr(gate, name)
        demands += [] if bound is None else [words.format(bound=bound, metric=gate.metric)]
    if gate.latency_ms is not None:
        demands.append(f"{gate.latency_ms:g} ms a row at most")
    if gate.size_mb is not None:
        demands.append(f"{gate.size_mb:g} MB at most")
    return ", ".join(demands) + f"; by {gate.metric}" if demands else "none"


def _limit(name: str, wanted: object) -> tuple[int | None, dict[str, Any] | None]:
    """The runs at once of one deployment, and what becomes of one more."""
    values = dict(wanted) if isinstance(wanted, Mapping) else {"limit": wanted}
    limit, options = values.pop("limit", None), values
    if wanted is None:
        return None, None
    strategy = options.get("collision_strategy", STRATEGIES[0])
    if (
        not isinstance(limit, int)
        or limit < 1
        or strategy not in STRATEGIES
        or not options.keys() <= {"collision_strategy", "grace_period_seconds"}
    ):
        raise ConfigError(
            f"{name} has the concurrency_limit {wanted!r}; expected a number from 1, or "
            "{limit: 1, collision_strategy: ENQUEUE} (or CANCEL_NEW)."
        )
    return limit, {**options, "collision_strategy": strategy} if options else None


def _require_known(name: str, given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            raise ConfigError(
                f"Unknown key {key!r} in {where}{name}.{nearest(str(key), known)} Known: "
                f"{', '.join(known)}. What else Prefect has is set in its UI."
            )
