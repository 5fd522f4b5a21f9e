"""Whether a cluster has nodes on which what is asked for could run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from infra.clusters.profiles import Profile, Profiles, Toleration
from infra.clusters.quantities import parse_quantity
from infra.clusters.requirements import Demand
from infra.examinations.findings import Finding

if TYPE_CHECKING:
    from infra.clusters.examination import Place

CLOSED = ("NoSchedule", "NoExecute")


@dataclass(frozen=True)
class Node:
    """A node, as far as it matters to whether a pod could be there.

    Args:
        labels: Its labels.
        taints: Those that keep pods away: key, value and effect.
        room: What it has in all, by resource.
    """

    labels: Mapping[str, str]
    taints: tuple[tuple[str, str, str], ...]
    room: Mapping[str, Decimal]


async def nodes(place: "Place") -> list[Finding]:
    """Whether each kind of Job that is asked for has a node that could take it."""
    from kubernetes_asyncio.client import CoreV1Api

    found = [_node(item) for item in (await CoreV1Api(place.client).list_node()).items]
    profiles = place.wanted.profiles
    return [demand_finding(demand, profiles, found) for demand in place.wanted.demands]


def demand_finding(demand: Demand, profiles: Profiles, found: Iterable[Node]) -> Finding:
    """Whether there is a node for one kind of Job.

    What nobody will start soon, and what an autoscaler brings, is said and stops nothing.

    Args:
        demand: What is asked for.
        profiles: Say how GPUs are called.
        found: The nodes of the cluster.
    """
    what, profile = f"nodes for {demand.name}", demand.profile
    who = ", ".join(demand.deployments[:3]) + (" and others" if len(demand.deployments) > 3 else "")  # noqa: PLR2004
    asked = _asked(profile, profiles)
    left, lost = list(found), ""
    for said, keep in _sieves(profile, profiles):
        kept = [node for node in left if keep(node)]
        if not kept:
            lost = said
            break
        left = kept
    if not lost:
        return Finding(what, f"{len(left)} could take {asked}, for {who}")
    fact = f"none could take {asked}, for {who}: {lost}"
    if profile.autoscaled:
        return Finding(what, f"{fact}; they come when they are asked for, profiles.yaml says")
    if not demand.soon:
        return Finding(what, f"{fact}; no schedule of theirs is active, and their runs would wait")
    cure = (
        "add such a node (and, for GPUs, their device plugin), correct the profile in "
        "profiles.yaml, or say `autoscaled: true` there if such nodes come when they are asked for"
    )
    return Finding(what, fact, cure)


def _asked(profile: Profile, profiles: Profiles) -> str:
    kind = f" {profile.gpu_type}" if profile.gpu_type else ""
    gpus = f" and {profile.gpus}{kind} of {profiles.accelerator.resource}" if profile.gpus else ""
    return f"{profile.cpu} CPUs, {profile.memory}{gpus}"


def _sieves(profile: Profile, profiles: Profiles) -> list[tuple[str, Any]]:
    """What a node must be, one after the other, and what is said where no node is left."""
    label, resource = profiles.accelerator.type_label, profiles.accelerator.resource
    wanted = {**profile.node_selector, **({label: profile.gpu_type} if profile.gpu_type else {})}
    written = ", ".join(f"{key}={value}" for key, value in wanted.items())
    sieves: list[tuple[str, Any]] = [("the cluster has no node", lambda node: True)]
    if profile.gpus:
        some = f"no node has {resource}"
        enough = f"no node has {profile.gpus} of {resource}"
        sieves += [
            (some, lambda node: node.room.get(resource, 0) > 0),
            (enough, lambda node: node.room.get(resource, 0) >= profile.gpus),
        ]
    return [
        *sieves,
        (
            f"no such node has the labels {written}",
            lambda node: wanted.items() <= node.labels.items(),
        ),
        (
            "all such nodes have a taint that it does not tolerate, or are cordoned",
            lambda node: all(_tolerated(taint, profile.tolerations) for taint in node.taints),
        ),
        ("no such node has so much memory", lambda node: _fits(node, "memory", profile.memory)),
        ("no such node has so many CPUs", lambda node: _fits(node, "cpu", profile.cpu)),
    ]


def _fits(node: Node, resource: str, amount: str) -> bool:
    return node.room.get(resource, Decimal(0)) >= parse_quantity(amount)


def _tolerated(taint: tuple[str, str, str], tolerations: Iterable[Toleration]) -> bool:
    key, value, effect = taint
    return any(
        toleration.key in ("", key)
        and toleration.effect in (None, effect)
        and (toleration.operator == "Exists" or (toleration.value or "") == value)
        for toleration in tolerations
    )


def _node(item: Any) -> Node:
    taints = item.spec.taints or ()
    return Node(
        labels=item.metadata.labels or {},
        taints=tuple((t.key, t.value or "", t.effect) for t in taints if t.effect in CLOSED),
        room={name: parse_quantity(a) for name, a in (item.status.allocatable or {}).items()},
    )
