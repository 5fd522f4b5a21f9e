"""What became of a run's Job, in a sentence: what happened, what was asked for, what to do.

Everything here is a function of the Job, its newest pod and their events, as the API gives them in
JSON; nothing asks the cluster. What is said is what the state of the run says in Prefect's pages.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from infra.clusters.findings import (
    DISRUPTIONS,
    GOES_ON,
    SHORT_OF,
    TURNED_AWAY,
    Diagnosis,
    Kind,
    Outcome,
)
from infra.clusters.objects import (
    Object,
    as_sentence,
    condition,
    container_of,
    created_at,
    ending,
    has_started,
    in_order_of_end,
    is_over,
    limit_of,
    name_of,
    phase_of,
    pods_asked_for,
    pull_failed_at,
    pull_failure,
    scheduled_at,
    statuses,
    statuses_own_first,
    uid_of,
)
from infra.clusters.scheduling import requested, scale_up, why_unschedulable
from tasks.remote import scrubbed

# how long to wait for a node, and for what the cluster may get over by itself
START_WAIT, SHORT_WAIT = timedelta(minutes=15), timedelta(minutes=2)
WAIT_ANNOTATION = "roundhouse/start-within-seconds"  # on a Job
KILLED = 137
# of a process that meets what no other attempt would mend
EXIT_PERMANENT = 78
IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable")
NO_IMAGE = ("InvalidImageName", "ImageInspectError")
NO_CONTAINER = (
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError",
)  # fmt: skip
NOT_MOUNTED = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
MOUNTED = ("Pulling", "Pulled", "Created")


def diagnose(job: Object, pods: Sequence[Object], events: Sequence[Object]) -> Diagnosis | None:
    """What is wrong with a Job; None while nothing is, or where it did what it should.

    Args:
        job: The Job.
        pods: Its pods, also those that are gone, as they were last seen.
        events: Of the Job and the pods.
    """
    if condition(job, "Failed").get("reason") == "DeadlineExceeded":
        return _over_deadline(job)
    if not pods:
        return _without_pod(job, events)
    if pods_asked_for(job) == 1:
        return _of_pod(job, max(pods, key=created_at), events)
    told = [_of_pod(job, pod, events) for pod in in_order_of_end(pods)]
    if len(pods) < pods_asked_for(job):
        told.append(_refused_pod(job, events))
    # where one pod of several is lost the others end as well, or are deleted
    return min(filter(None, told), key=_is_told_after, default=None)


def _is_told_after(found: Diagnosis) -> int:
    """0 for a cause, 1 for what may follow from one, and 2 for what may still begin."""
    return 2 if found.outcome == "waiting" else int(found.kind in ("pod removed", "ended"))


def _of_pod(job: Object, pod: Object, events: Sequence[Object]) -> Diagnosis | None:
    own = [e for e in events if e.get("involvedObject", {}).get("uid") == uid_of(pod)]
    return (
        _out_of_memory(pod)
        or _put_out(pod)
        or _refused_to_start(pod, own)
        or _unmounted(pod, own)
        or _unschedulable(job, pod, own)
        or _ended(job, pod)
    )


def _out_of_memory(pod: Object) -> Diagnosis | None:
    own, *_ = (*statuses_own_first(pod), {})
    if "running" in (own.get("state") or {}):
        # a container that something puts beside ours may be started again, and does no harm
        return None
    for status in statuses_own_first(pod):
        ended = ending(status)
        if ended.get("reason") == "OOMKilled":
            limit = limit_of(pod, str(status.get("name")), "memory")
            return Diagnosis(
                "out of memory",
                "failed",
                f"Out of memory: the container used more than its limit of {limit} and was killed "
                f"(exit code {ended.get('exitCode', KILLED)}). Give it more (resources: {{memory: "
                "...} in the pipeline's block, in its `training` where that is apart), deploy, and "
                "press Retry: it goes on from its last finished stage or checkpoint. Or start a "
                "new run with a smaller training.batch_size.",
            )
    return None


def _put_out(pod: Object) -> Diagnosis | None:
    """Of a pod that was made to leave its node."""
    status, node = pod.get("status") or {}, (pod.get("spec") or {}).get("nodeName") or "its node"
    said, target = str(status.get("message") or ""), condition(pod, "DisruptionTarget")
    if status.get("reason") == "Evicted":
        return _under_pressure(pod, node, said)
    if status.get("reason") == "NodeLost":
        return _again("node lost", f"The node {node} of this run does not answer any more")
    if target:
        unknown: tuple[Kind, str] = ("preempted", said or str(target.get("reason")))
        kind, why = DISRUPTIONS.get(str(target.get("reason")), unknown)
        return _again(kind, f"The pod of this run was removed from {node}: {why}")
    if phase_of(pod) == "Failed" and str(status.get("reason", "")).startswith(
        ("OutOf", "UnexpectedAdmissionError", "NodeAffinity", "Terminated", "NodeShutdown")
    ):
        return _again("turned away", f"The node {node} {TURNED_AWAY}: {said}")
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return _again("pod removed", f"The pod of this run was deleted on {node}")
    return None


def _under_pressure(pod: Object, node: str, said: str) -> Diagnosis:
    if "exceed" in said:
        return Diagnosis(
            "storage",
            "failed",
            f"The pod was put out of {node}, as it wrote more to its disk than it may: {said} Give "
            "it more (the job variable for scratch space, or a volume), or keep less on disk.",
        )
    asked = requested(pod.get("spec") or {}, "memory")
    held = f", and this pod asked for {asked} of memory" if asked else ""
    lacks = re.search(r"low on resource: ([\w-]+)", said)
    what = lacks.group(1) if lacks else "memory or disk"
    return _again(
        "node pressure",
        f"The node {node} {SHORT_OF} {what}{held}: it put the pod of this run out",
        " If that happens again, ask for as much memory as it uses (resources: {memory: ...}).",
    )


def _again(kind: Kind, happened: str, more: str = "") -> Diagnosis:
    """Of a pod that is gone through no fault of its own."""
    happened = happened.rstrip(". ")
    return Diagnosis(kind, "again", f"{happened}. {GOES_ON}{more}")


def _refused_to_start(pod: Object, events: Sequence[Object]) -> Diagnosis | None:
    for status in statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        terminated = (status.get("state") or {}).get("terminated") or {}
        reason = str(waiting.get("reason") or terminated.get("reason") or "")
        said = as_sentence(str(waiting.get("message") or terminated.get("message") or reason))
        if reason in (*IMAGE_REASONS, *NO_IMAGE):
            image = scrubbed(str(container_of(pod, status).get("image") or status.get("image")))
            said = pull_failure(said, events)
            return _stuck(
                "image",
                f"The image {image} cannot be pulled: {said} Correct it (ROUNDHOUSE_IMAGE, or the "
                "job variable image), or give the registry's credentials as an image pull secret "
                "of the service account.",
                None if reason in NO_IMAGE else pull_failed_at(pod, events) + SHORT_WAIT,
            )
        if reason in NO_CONTAINER:
            return _stuck(
                "container",
                f"The container cannot be started ({reason}): {said} Make what it names, such as "
                "the Secret roundhouse-secrets or the ConfigMap roundhouse-settings, or correct "
                "the work pool's job variables.",
                None if terminated else scheduled_at(pod) + SHORT_WAIT,
            )
    return None


def _unmounted(pod: Object, events: Sequence[Object]) -> Diagnosis | None:
    """Of a pod whose containers wait for a volume."""
    said = [str(e.get("message")) for e in events if e.get("reason") in NOT_MOUNTED]
    if (
        phase_of(pod) != "Pending"
        or not said
        # a node pulls once all is mounted, and the first try to mount may well have failed
        or any(e.get("reason") in MOUNTED for e in events)
        or any(has_started(status) for status in statuses(pod))
    ):
        return None
    return _stuck(
        "container",
        f"A volume cannot be mounted: {as_sentence(said[-1])} Make what it names, or correct the "
        "work pool's volumes.",
        scheduled_at(pod) + SHORT_WAIT + SHORT_WAIT,
    )


def _unschedulable(job: Object, pod: Object, events: Sequence[Object]) -> Diagnosis | None:
    scheduled = condition(pod, "PodScheduled", "False")
    if scheduled.get("reason") != "Unschedulable":
        return None
    why = why_unschedulable(str(scheduled.get("message") or ""), pod.get("spec") or {})
    coming = scale_up({str(event.get("reason")) for event in events})
    sentence = f"No node takes the pod of this run: {as_sentence(why)}"
    advice = coming or (
        "Add a node that fits, wait for one to come free, or ask for less (resources: in the "
        "pipeline's block)."
    )
    return _stuck("unschedulable", f"{sentence} {advice}", created_at(job) + _wait(job))


def _without_pod(job: Object, events: Sequence[Object]) -> Diagnosis | None:
    if refused := _refused_pod(job, events):
        return refused
    if condition(job, "Failed"):
        return _again("pod removed", "The pod of this run is gone, and left no word")
    return None


def _refused_pod(job: Object, events: Sequence[Object]) -> Diagnosis | None:
    own = [e for e in events if e.get("involvedObject", {}).get("uid") == uid_of(job)]
    said = [str(e.get("message")) for e in own if e.get("reason") == "FailedCreate"]
    if said:
        is_full = "exceeded quota" in said[-1]
        advice = (
            "Wait for another run's end, ask for less (resources: in the pipeline's block), or "
            "have the quota raised."
            if is_full
            else "Correct the work pool's job variables, or have the namespace's rules changed."
        )
        until = created_at(job) + (_wait(job) if is_full else SHORT_WAIT)
        what = f"The cluster does not let this run have a pod: {as_sentence(said[-1])} {advice}"
        return _stuck("refused", what, until)
    return None


def _over_deadline(job: Object) -> Diagnosis:
    seconds = (job.get("spec") or {}).get("activeDeadlineSeconds")
    return Diagnosis(
        "deadline",
        "failed",
        f"The run took longer than the {seconds} s that it may (activeDeadlineSeconds of its Job), "
        "and its pod was killed. Raise the work pool's deadline, or let the run do less; Retry "
        "goes on from the last finished stage or checkpoint.",
    )


def _ended(job: Object, pod: Object) -> Diagnosis | None:
    """Of a Job that is over; whoever asks knows that its run does not say so."""
    count = pods_asked_for(job)
    if not (is_over(job) or (count > 1 and phase_of(pod) == "Failed")):
        return None
    ended = next(filter(None, map(ending, statuses_own_first(pod))), {})
    code = int(ended.get("exitCode") or 0)
    if count > 1:
        return _one_of_several_ended(pod, count, code)
    outcome: Outcome = "failed" if code in (1, 2, 126, 127) else "crashed"
    hint = " A process that is killed so has often run out of memory." if code == KILLED else ""
    return Diagnosis(
        "ended",
        outcome,
        f"The container ended with exit code {code}, and the run never said how it ended.{hint} "
        "The end of its log says more, here or in the cluster.",
    )


def _one_of_several_ended(pod: Object, count: int, code: int) -> Diagnosis | None:
    if not code:
        return None
    outcome: Outcome = "failed" if code == EXIT_PERMANENT else "crashed"
    return Diagnosis(
        "ended",
        outcome,
        f"The pod {name_of(pod)}, one of {count} that train together, ended first, with exit code "
        f"{code}, and the run never said why. The end of its log says more, here or in the "
        "cluster. All of them go on from the last checkpoint where the run is tried again.",
    )


def _stuck(kind: Kind, sentence: str, until: datetime | None) -> Diagnosis:
    return Diagnosis(kind, "failed" if until is None else "waiting", sentence, until)


def _wait(job: Object) -> timedelta:
    """How long a Job's pod may wait for a node."""
    given = ((job.get("metadata") or {}).get("annotations") or {}).get(WAIT_ANNOTATION) or ""
    seconds = str(given).split(" ", maxsplit=1)[0]
    return timedelta(seconds=int(seconds)) if seconds.isdigit() else START_WAIT
