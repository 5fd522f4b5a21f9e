"""What a pipeline asks for, `resources: {profile: gpu}`, and what that means on this cluster."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from infra.clusters.images import with_suffix
from infra.clusters.placement import node_requirements, tolerations, work_volume
from infra.clusters.quantities import Cpu, Memory
from infra.pipelines import nearest
from tasks.errors import ConfigError
from tasks.settings import PROJECT_FOLDER, Settings
from tasks.stage_config import StageConfig

PLACE = Path("kubernetes") / "profiles.yaml"
# of Prefect's worker that makes Jobs
POOL_TYPE = "kubernetes"
USUAL = "cpu"
# the job variables of a training that runs as a Job of its own, in the environment of its flow
TRAINING_VARIABLE = "ROUNDHOUSE_TRAINING_JOB"
# of a block's own job variables; an image of the training's profile comes first
SHARED_WITH_TRAINING = (
    "image", "env", "env_from", "labels", "service_account_name", "image_pull_secrets",
)  # fmt: skip
EXAMPLE = "{profile: gpu, memory: 16Gi}"
NODES_EXAMPLE = "only a training has several: {training: {profile: gpu, nodes: 4}}."
LABEL_KEY = r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"


class Share(StageConfig):
    """What one Job is given.

    Args:
        profile: Name of a profile; what follows is instead of what it says.
        cpu: CPUs.
        memory: Memory, which is a limit as well.
        gpus: GPUs, all on one node.
        gpu_type: Kind of GPU, as nodes are labelled with.
    """

    profile: str = USUAL
    cpu: Cpu | None = None
    memory: Memory | None = None
    gpus: int | None = Field(default=None, ge=1, le=16)
    gpu_type: str | None = Field(default=None, min_length=1, max_length=63)


class TrainingShare(Share):
    """What each Job, or each node, of a training is given.

    Args:
        nodes: Nodes that train one network together, on JAX, each with all of this.
    """

    nodes: int = Field(default=1, ge=1, le=64)


class Resources(Share):
    """What a block asks for.

    Args:
        training: What the training is given, as a Job of its own; None for one Job per run.
    """

    training: TrainingShare | None = None


class Toleration(StageConfig):
    """A taint of nodes that does not keep runs away, by the names of the Kubernetes API."""

    key: str = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Profile(StageConfig):
    """What a profile means.

    Args:
        description: What it is, in a line.
        cpu: CPUs that are reserved; more are used where nobody else needs them.
        cpu_limit: CPUs at most.
        memory: Memory that is reserved, and the most.
        gpus: GPUs.
        gpu_type: Kind of GPU, as nodes are labelled with.
        image: Image instead of ROUNDHOUSE_IMAGE.
        image_suffix: What its tag ends with, beyond that of ROUNDHOUSE_IMAGE.
        node_selector: Labels that a node must have.
        tolerations: Taints that do not keep it away.
        autoscaled: Whether such nodes come only when they are asked for, so that there may be none.
        shared_memory: Size of /dev/shm at most; counts as memory.
        scratch: Size of the working folder, which holds checkpoints until they are stored.
        claim: A persistent volume claim to use as the working folder instead.
        priority_class: Who is put out first where there is no room.
        runtime_class: Container runtime, where GPUs need one of their own.
        start_within_seconds: How long a node may take to come.
        deadline_seconds: How long a run may last, waiting included.
        grace_seconds: How long a run has to end when it is told to.
        annotations: Of the Job and its pod, over those that every run has.
        node_lost_seconds: How long its node may be out of reach before it goes on in another.
    """

    description: str = ""
    cpu: Cpu = "2"
    cpu_limit: Cpu | None = None
    memory: Memory = "4Gi"
    gpus: int = Field(default=0, ge=0, le=16)
    gpu_type: str | None = None
    image: str | None = None
    image_suffix: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]*$")
    node_selector: Mapping[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    autoscaled: bool = False
    shared_memory: Memory = "1Gi"
    scratch: Memory = "20Gi"
    claim: str | None = None
    priority_class: str | None = None
    runtime_class: str | None = None
    start_within_seconds: int = Field(default=900, ge=60, le=86_400)
    deadline_seconds: int = Field(default=86_400, ge=300, le=2_592_000)
    grace_seconds: int = Field(default=60, ge=5, le=3600)
    annotations: Mapping[str, str] = {}
    node_lost_seconds: int = Field(default=60, ge=5, le=3600)


class Accelerator(StageConfig):
    """How this cluster calls its GPUs: the resource, and the label with their kind."""

    resource: str = Field(default="nvidia.com/gpu", pattern=LABEL_KEY)
    type_label: str = Field(default="nvidia.com/gpu.product", pattern=LABEL_KEY)


class Profiles(StageConfig):
    """The file of profiles."""

    accelerator: Accelerator = Accelerator()
    profiles: Mapping[str, Profile]

    def profile(self, share: Share, whose: str) -> Profile:
        """The profile that a share names, with what the share says instead.

        Args:
            share: What is asked for.
            whose: Whose it is, for errors.

        Raises:
            ConfigError: There is no such profile, or GPUs are asked of one without.
        """
        if share.profile not in self.profiles:
            raise ConfigError(
                f"Unknown profile {share.profile!r} in the resources of {whose}."
                f"{nearest(share.profile, self.profiles)} Known: {', '.join(self.profiles)}; "
                f"another is made in {PLACE}."
            )
        found = self.profiles[share.profile]
        if not found.gpus and (share.gpus or share.gpu_type):
            able = [name for name, profile in self.profiles.items() if profile.gpus]
            raise ConfigError(
                f"The resources of {whose} ask for GPUs of the profile {share.profile!r}, which "
                f"has none; expected one that has: {', '.join(able) or f'none in {PLACE} yet'}."
            )
        given = share.model_dump(exclude={"profile", "training", "nodes"}, exclude_none=True)
        return found.model_copy(update=given)


def profiles_file(settings: Settings) -> Path:
    """The file of profiles beside the pipelines, or else the one that is shipped."""
    own = settings.pipelines.parent / PLACE
    return own if own.is_file() else PROJECT_FOLDER / "infra" / PLACE


def load_profiles(settings: Settings) -> Profiles:
    """The profiles of this cluster.

    Raises:
        ConfigError: The file cannot be read, or says what cannot be.
    """
    path = profiles_file(settings)
    try:
        found = Profiles.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ConfigError(f"In {path}: {_explained(error)}") from error
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read ({said}); expected profiles in YAML.") from error
    if USUAL not in found.profiles:
        known = ", ".join(found.profiles) or "none"
        raise ConfigError(f"{path} has no profile {USUAL!r}, which blocks have that name none; "
                          f"expected it beside {known}.")  # fmt: skip
    return found


def read_resources(content: object, whose: str) -> Resources | None:
    """What a block says under `resources`; None for nothing.

    Args:
        content: As it stands in the file.
        whose: Name of the block, for errors.

    Raises:
        ConfigError: It is no such thing.
    """
    if content is None:
        return None
    if not isinstance(content, Mapping):
        raise ConfigError(f"{whose} has the resources {content!r}; expected such as {EXAMPLE}.")
    try:
        return Resources.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"In the resources of {whose}: {_explained(error)}") from error


def job_variables(profile: Profile, settings: Settings) -> dict[str, Any]:
    """The variables of our job template by which a Job is given what a profile means.

    Raises:
        ConfigError: The image cannot have the profile's suffix.
    """
    image = profile.image or (
        with_suffix(settings.image, profile.image_suffix)
        if settings.image and profile.image_suffix
        else None
    )
    values: dict[str, Any] = {
        "image": image,
        "cpu_request": profile.cpu,
        "cpu_limit": profile.cpu_limit,
        "memory_request": profile.memory,
        "memory_limit": profile.memory,
        "gpus": profile.gpus or None,
        "gpu_type": profile.gpu_type,
        "node_requirements": node_requirements(profile.node_selector),
        "tolerations": tolerations(profile),
        "shared_memory": profile.shared_memory,
        "work_volume": work_volume(profile),
        "priority_class_name": profile.priority_class,
        "runtime_class_name": profile.runtime_class,
        "pod_watch_timeout_seconds": profile.start_within_seconds,
        "active_deadline_seconds": profile.deadline_seconds,
        "grace_period_seconds": profile.grace_seconds,
        "annotations": dict(profile.annotations) or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def resource_variables(
    resources: Resources | None,
    profiles: Profiles,
    settings: Settings,
    whose: str,
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the job variables of a deployment say about resources; nothing where its block does not.

    Args:
        resources: What the block asks for.
        profiles: What that means.
        settings: Name the image.
        whose: Name of the block, for errors.
        given: The block's own job variables; those that are not about a machine are also those of
            a training that is apart.

    Raises:
        ConfigError: It asks for what there is not.
    """
    if resources is None:
        return {}
    found = job_variables(profiles.profile(resources, whose), settings)
    if resources.training is None:
        return found
    own = {name: given[name] for name in SHARED_WITH_TRAINING if given and given.get(name)}
    training = {**own, **job_variables(profiles.profile(resources.training, whose), settings)}
    if resources.training.nodes > 1:
        training["nodes"] = resources.training.nodes
    return {**found, "env": {TRAINING_VARIABLE: json.dumps(training, sort_keys=True)}}


def _explained(error: ValidationError) -> str:
    return " ".join(_sentences(error.errors(include_url=False)))


def _sentences(problems: Iterable[Any]) -> Iterable[str]:
    known = {*Profile.model_fields, *Resources.model_fields, *Toleration.model_fields}
    for problem in problems:
        place = ".".join(map(str, problem["loc"]))
        if problem["loc"] == ("nodes",):
            yield f"Received nodes={problem['input']!r}; {NODES_EXAMPLE}"
        elif problem["type"] == "extra_forbidden":
            name = str(problem["loc"][-1])
            yield f"Unknown key {place!r}.{nearest(name, known)}"
        else:
            said = problem["msg"][:1].lower() + problem["msg"][1:]
            yield f"Received {place}={problem['input']!r}; {said}."
