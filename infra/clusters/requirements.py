"""What the deployments of a file ask of a cluster, put together before it is looked at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from infra.clusters.profiles import USUAL, Profile, Profiles, Share, job_variables, read_resources
from infra.pipelines import Block, configure
from tasks.datasets import get_dataset
from tasks.keys import PRIVACY_KEY
from tasks.settings import Settings


@dataclass(frozen=True)
class Demand:
    """A kind of Job that deployments need a node for.

    Args:
        name: Name of its profile.
        profile: What it is given.
        deployments: Who asks for it.
        soon: Whether one of them runs by a schedule, or was named to be deployed.
    """

    name: str
    profile: Profile
    deployments: tuple[str, ...]
    soon: bool


@dataclass(frozen=True)
class Requirements:
    """What is asked of a cluster.

    Args:
        settings: Name the image and the namespace.
        profiles: Say how GPUs are called.
        demands: The kinds of Jobs.
        images: Every image that is used, and whether by one that runs soon.
        secret_keys: Keys that the secret of the runs must have, each with who needs it.
    """

    settings: Settings
    profiles: Profiles
    demands: tuple[Demand, ...]
    images: Mapping[str, bool]
    secret_keys: Mapping[str, str]


def requirements(
    settings: Settings, profiles: Profiles, blocks: Iterable[Block], named: Iterable[str]
) -> Requirements:
    """What blocks ask of a cluster.

    Args:
        settings: Name the image and the namespace.
        profiles: What their resources mean.
        blocks: The blocks.
        named: Those that were named to be deployed.

    Raises:
        ConfigError: A block asks for what there is not.
    """
    blocks, named = list(blocks), set(named)
    found: dict[str, Demand] = {}
    for block in blocks:
        soon = block.name in named or _is_scheduled(block)
        for share in _shares(block):
            profile = profiles.profile(share, block.name)
            key = profile.model_dump_json()
            before = found.get(key)
            names = (*(before.deployments if before else ()), block.name)
            found[key] = Demand(share.profile, profile, names, soon or bool(before and before.soon))
    images = {str(settings.image): True}
    for demand in found.values():
        if image := job_variables(demand.profile, settings).get("image"):
            images[image] = images.get(image, False) or demand.soon
    return Requirements(
        settings,
        profiles,
        tuple(found.values()),
        images,
        {"ROUNDHOUSE_PASSWORD": "runs, to be let in by the servers", **_privacy(blocks)},
    )


def _shares(block: Block) -> list[Share]:
    read = read_resources(block.content.get("resources"), block.name)
    if read is None:
        return [Share(profile=USUAL)]
    return [read, read.training] if read.training else [read]


def _is_scheduled(block: Block) -> bool:
    return any(schedule.get("active", True) for schedule in block.content.get("schedules") or ())


def _privacy(blocks: Iterable[Block]) -> dict[str, str]:
    """The key by which identifiers are hashed, which a pod cannot keep for the next one."""
    hashing = [
        block.name
        for block in blocks
        if block.trains
        and any(
            column.protection == "hash"
            for column in get_dataset(configure(block.pipeline, ()).ingestion.dataset).columns
        )
    ]
    return {PRIVACY_KEY: f"{', '.join(hashing)}, to hash identifiers"} if hashing else {}
