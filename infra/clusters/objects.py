"""Reading what the API of a cluster says of a Job or a pod, in JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.remote import scrubbed

Object = Mapping[str, Any]


def condition(thing: Object, kind: str, status: str = "True") -> Object:
    """The condition of a Job or a pod that has this status; empty where there is none."""
    found: Object = next(
        (
            one
            for one in (thing.get("status") or {}).get("conditions") or ()
            if one.get("type") == kind and one.get("status") == status
        ),
        {},
    )
    return found


def statuses(pod: Object) -> Iterator[Object]:
    """The statuses of a pod's containers, those that initialise first."""
    for part in ("initContainerStatuses", "containerStatuses"):
        yield from (pod.get("status") or {}).get(part) or ()


def statuses_own_first(pod: Object) -> list[Object]:
    """The statuses of a pod's containers, of which the one that we asked for is the first.

    What is injected into pods, such as a proxy, comes after the containers that were there.
    """
    asked: Sequence[Object] = (pod.get("spec") or {}).get("containers") or ({},)
    return sorted(statuses(pod), key=lambda status: status.get("name") != asked[0].get("name"))


def container_of(pod: Object, status: Object) -> Object:
    """What was asked for the container that a status is of; empty where nothing was."""
    spec = pod.get("spec") or {}
    every = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return next((one for one in every if one.get("name") == status.get("name")), {})


def limit_of(pod: Object, name: str, resource: str) -> str:
    """A container's limit of a resource, in words."""
    limits = (container_of(pod, {"name": name}).get("resources") or {}).get("limits") or {}
    return f"{limits[resource]} of {resource}" if resource in limits else f"all {resource} there is"


def ending(status: Object) -> Object:
    """How a container ended, the last time; empty where it has not."""
    for part in ("state", "lastState"):
        if found := (status.get(part) or {}).get("terminated"):
            return dict(found)
    return {}


def ended_at(pod: Object) -> datetime | None:
    """When a pod's last container ended, or somebody deleted the pod, whichever came first."""
    metadata = pod.get("metadata") or {}
    ends = [ending(each).get("finishedAt") for each in statuses(pod)]
    moments = [_moment(moment) for moment in ends if moment]
    if deleted := deleted_at(pod):
        # it counts the grace that the pod was given
        grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
        moments.append(deleted - grace)
    return min(moments, default=None)


def in_order_of_end(pods: Iterable[Object]) -> list[Object]:
    """Pods by the second in which they ended or were deleted; those at work are the last.

    Of the same second those that were deleted come first, as the others may have ended by that.
    """
    now = datetime.now(UTC)
    return sorted(pods, key=lambda pod: (ended_at(pod) or now, deleted_at(pod) is None))


def pods_asked_for(job: Object) -> int:
    """How many pods of a Job are at work at the same time."""
    return int((job.get("spec") or {}).get("completions") or 1)


def has_started(status: Object) -> bool:
    """Whether a container runs, or did."""
    return bool({"running", "terminated"} & (status.get("state") or {}).keys())


def scheduled_at(pod: Object) -> datetime:
    """When a pod was given a node, or was made."""
    moment = condition(pod, "PodScheduled").get("lastTransitionTime")
    return _moment(moment) if moment else created_at(pod)


def created_at(thing: Object) -> datetime:
    """When a Job or a pod was made."""
    return _moment((thing.get("metadata") or {}).get("creationTimestamp"))


def uid_of(thing: Object) -> object:
    """What tells it from another of the same name."""
    return (thing.get("metadata") or {}).get("uid")


def is_over(job: Object) -> bool:
    """Whether a Job has failed or is complete: it will make no more pods."""
    return bool(condition(job, "Failed") or condition(job, "Complete"))


def over_at(job: Object) -> datetime | None:
    """When a Job had failed or was complete; None while it is not."""
    found = condition(job, "Failed") or condition(job, "Complete")
    return _moment(found.get("lastTransitionTime")) if found else None


def deleted_at(thing: Object) -> datetime | None:
    """When a Job or a pod is to be gone, its grace included; None where nobody deleted it."""
    moment = (thing.get("metadata") or {}).get("deletionTimestamp")
    return _moment(moment) if moment else None


def name_of(thing: Object) -> str:
    """The name of a Job or a pod."""
    return str((thing.get("metadata") or {}).get("name", ""))


def phase_of(pod: Object) -> str:
    """The phase of a pod: Pending, Running, Succeeded, Failed or Unknown."""
    return str((pod.get("status") or {}).get("phase", ""))


def as_sentence(text: str) -> str:
    """A message of the cluster, on one line, as a sentence and without anybody's password."""
    said = scrubbed(" ".join(text.split()))[:600]
    return said if said.endswith((".", "!")) else f"{said}."


def _moment(text: object) -> datetime:
    return datetime.fromisoformat(str(text)) if text else datetime.now(UTC)


def pull_failed_at(pod: Object, events: Iterable[Object]) -> datetime:
    """Since when a pod's image cannot be pulled; a large one may have been on its way before.

    Args:
        pod: The pod.
        events: Of it.
    """
    failed = [e for e in events if "Failed to pull" in str(e.get("message"))]
    moments = [e.get("firstTimestamp") or e.get("eventTime") for e in failed]
    return min((_moment(moment) for moment in moments if moment), default=scheduled_at(pod))


def pull_failure(said: str, events: Iterable[Object]) -> str:
    """What a registry said; while the node waits to try again, only an event has it.

    Args:
        said: What the container's state says.
        events: Of its pod, the newest last.
    """
    told = [str(e.get("message")) for e in events if "Failed to pull" in str(e.get("message"))]
    return as_sentence(told[-1]) if told and said.startswith("Back-off") else said
