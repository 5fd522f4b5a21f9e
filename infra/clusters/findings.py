"""What can be found of a Job on a cluster, and what that means for its run."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Kind = Literal[
    "out of memory", "node pressure", "storage", "preempted", "turned away", "node lost",
    "pod removed", "unschedulable", "image", "container", "refused", "deadline", "job removed",
    "ended",
]  # fmt: skip
# failed: only a person can mend it. crashed: the automation for crashed runs decides. again: it
# goes on in a new pod. waiting: it may still begin
Outcome = Literal["failed", "crashed", "again", "waiting"]
# what a state says of a run that goes on; that of a node which puts pods out to save itself, and
# of one that does not take them: by these words earlier attempts are counted
GOES_ON = "A new pod goes on from the last finished stage or checkpoint."
SHORT_OF, TURNED_AWAY = "was short of", "turned the pod of this run away"
SIGNS: Mapping[str, str] = {"node pressure": SHORT_OF, "turned away": TURNED_AWAY}
# reasons of the condition DisruptionTarget, and what they mean
DISRUPTIONS: Mapping[str, tuple[Kind, str]] = {
    "PreemptionByScheduler": ("preempted", "its place was needed by a pod of higher priority"),
    "EvictionByEvictionAPI": ("preempted", "its node is emptied: maintenance, or a spot machine"),
    "DeletionByTaintManager": ("node lost", "its node does not answer, or was closed to it"),
    "DeletionByPodGC": ("node lost", "its node is gone"),
    "TerminationByKubelet": ("preempted", "its node is shutting down"),
}  # fmt: skip


@dataclass(frozen=True)
class Diagnosis:
    """What became of a Job, and what that means for its run.

    Args:
        kind: The kind of trouble.
        outcome: What becomes of the run.
        sentence: What happened, what was asked for, and what to do.
        until: When waiting is given up; None where nothing is waited for.
    """

    kind: Kind
    outcome: Outcome
    sentence: str
    until: datetime | None = None


NEVER_MADE = Diagnosis(
    "job removed",
    "crashed",
    "A worker took this run and made no Job for it; expected one within two minutes. The worker's "
    "log says why.",
)


def job_removed(name: str) -> Diagnosis:
    """Of a run whose Job is not there any more, though nothing ended it."""
    return Diagnosis(
        "job removed",
        "failed",
        f"The Job {name} of this run was deleted from the cluster while the run was open; expected "
        "it to stay until its end. A person or another program did that. To go on from the last "
        "finished stage, press Retry; to stop a run for good, cancel it here.",
    )


def not_again(diagnosis: Diagnosis, tries: int) -> Diagnosis:
    """What has happened so often that another attempt would come to the same.

    Args:
        diagnosis: What happened.
        tries: How often it had before.
    """
    happened = diagnosis.sentence.replace(f" {GOES_ON}", "")
    said = (
        f"{happened} That has happened {tries + 1} times, so it is not tried again by itself. "
        "Retry goes on from the last finished stage or checkpoint."
    )
    return Diagnosis(diagnosis.kind, "failed", said)


def given_up(diagnosis: Diagnosis, began: datetime) -> Diagnosis:
    """What waiting came to when it lasted too long.

    Args:
        diagnosis: What was waited for.
        began: Since when.
    """
    waited = (diagnosis.until or began) - began
    said = f"{diagnosis.sentence} Given up after {waited.total_seconds() / 60:.0f} minutes."
    return Diagnosis(diagnosis.kind, "failed", said)
