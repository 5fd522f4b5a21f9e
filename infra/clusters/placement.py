"""Where the pods of a profile may be, and on what disk they work, in the words of Kubernetes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infra.clusters.profiles import Profile

ON_LINUX = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
# taints of a node that does not answer, which Kubernetes lets a pod bear for five minutes
NODE_LOST = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def node_requirements(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """What nodes must be, as the expressions of a node affinity: Linux, with these labels."""
    wanted = [{"key": k, "operator": "In", "values": [v]} for k, v in labels.items()]
    return [ON_LINUX, *wanted]


def tolerations(profile: "Profile") -> list[dict[str, Any]]:
    """The taints that a profile's runs bear, and for how long the loss of their node."""
    own = [toleration.model_dump(exclude_none=True) for toleration in profile.tolerations]
    named = {toleration.key for toleration in profile.tolerations}
    lost = {"operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": profile.node_lost_seconds}  # fmt: skip
    return [*own, *({"key": key, **lost} for key in NODE_LOST if key not in named)]


def work_volume(profile: "Profile") -> dict[str, Any]:
    """The volume of the working folder: a part of the node's disk, or a claim."""
    if profile.claim:
        return {"name": "work", "persistentVolumeClaim": {"claimName": profile.claim}}
    return {"name": "work", "emptyDir": {"sizeLimit": profile.scratch}}
