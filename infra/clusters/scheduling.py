"""What the scheduler of a cluster says about a pod that no node takes, in words for people."""

import re
from collections.abc import Mapping
from typing import Any

# how many of how many nodes, and why not the others, each with its count
SUMMARY = re.compile(r"^(\d+)/(\d+) nodes are available:?\s*(.*)$", re.DOTALL)
# a taint's braces may hold a comma
REASON = re.compile(r"(\d+) ((?:\{[^}]*\}|[^,{])+)")
TAINT = re.compile(r"taints?(?:\(s\))? ?\{([^:}]*):? ?([^}]*)\}")
# words of the scheduler, and what they mean; {n} is "2 nodes"
MEANINGS = {
    "didn't match Pod's node affinity/selector": "{n} without the labels that it asks for{labels}",
    "were unschedulable": "{n} closed to new pods (cordoned)",
    "had volume node affinity conflict": "{n} out of reach of its volume",
    "didn't find available persistent volumes to bind": "{n} without a volume for its claim",
    "exceed max volume count": "{n} with no room for another volume",
    "Too many pods": "{n} with as many pods as may be",
    "didn't have free ports": "{n} whose port is taken",
    "didn't match pod topology spread constraints": "{n} with too many of its kind already",
    "didn't match pod anti-affinity rules": "{n} beside pods that it must not be with",
}
# events of what adds nodes: the cluster autoscaler, and Karpenter
COMING, NOT_COMING = ("TriggeredScaleUp", "Nominated"), ("NotTriggerScaleUp",)


def why_unschedulable(message: str, spec: Mapping[str, Any]) -> str:
    """Why no node takes a pod, from the message of the scheduler.

    Args:
        message: Of the pod's condition `PodScheduled`; the part on preemption is left out.
        spec: The pod's, which has what was asked for.
    """
    found = SUMMARY.match(message.split(" preemption:", maxsplit=1)[0].strip().rstrip("."))
    if found is None:
        # without any node at all, say
        return message.strip().rstrip(".") or "the scheduler names no reason"
    _, nodes, rest = found.groups()
    parts = [_part(int(n), reason.strip(), spec) for n, reason in REASON.findall(rest)]
    return f"of {_nodes(int(nodes))}: {'; '.join(parts) or rest or 'no reason is named'}"


def scale_up(reasons: set[str]) -> str:
    """What the reasons of a pod's events say about another node; empty for nothing."""
    if reasons & {*COMING}:
        return "Another node is on its way."
    if reasons & {*NOT_COMING}:
        return "The cluster's autoscaler has no kind of node that would take it."
    return ""


def requested(spec: Mapping[str, Any], resource: str) -> str:
    """How much of a resource a pod's containers ask for; empty where none does."""
    asked = [
        str(amount)
        for container in spec.get("containers") or ()
        if (amount := _amount(container.get("resources") or {}, resource))
    ]
    return " and ".join(asked)


def _amount(resources: Mapping[str, Any], resource: str) -> Any:
    # a limit without a request is one
    return (resources.get("requests") or {}).get(resource) or (resources.get("limits") or {}).get(
        resource
    )


def _part(count: int, reason: str, spec: Mapping[str, Any]) -> str:
    nodes = _nodes(count)
    if reason.startswith("Insufficient "):
        resource = reason.removeprefix("Insufficient ").rstrip(".")
        asked = requested(spec, resource)
        return f"{nodes} with too little {resource} free" + (
            f" (it asks for {asked})" if asked else ""
        )
    if "taint" in reason:
        taint = TAINT.search(reason)
        named = "=".join(filter(None, taint.groups())) if taint else ""
        return f"{nodes} kept for others" + (f" (taint {named})" if named else "")
    labels = ", ".join(f"{k}={v}" for k, v in (spec.get("nodeSelector") or {}).items())
    for words, meaning in MEANINGS.items():
        if words in reason:
            return meaning.format(n=nodes, labels=f" ({labels})" if labels else "")
    return f"{nodes}: {reason.removeprefix('node(s) ')}"


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
