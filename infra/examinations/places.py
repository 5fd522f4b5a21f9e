"""The places that this machine writes to: both storages, and the disks below."""

from collections.abc import Iterable

from infra.examinations.findings import Finding, Stack
from tasks.probe import Disk, Trial, find_disks, try_artifacts, try_storage

FEW_BYTES = 2 * 2**30
# a twentieth of a large disk is still plenty
ENOUGH_BYTES, FEW = 20 * 2**30, 0.05
GIBIBYTE = 2**30


def storage(stack: Stack) -> list[Finding]:
    """Whether this machine can write and read the content-addressed storage."""
    if stack.in_cluster:
        return [Finding("storage", "the runs' own, of which they tell themselves")]
    return [storage_finding("storage", try_storage(stack.settings.storage_uri))]


def artifacts(stack: Stack) -> list[Finding]:
    """Whether this machine can write and read where MLflow keeps artefacts."""
    if stack.in_cluster:
        return [Finding("artefacts", "the runs' own, of which they tell themselves")]
    trials = try_artifacts(stack.settings, stack.names)
    return [artifact_finding("artefacts", trial) for trial in trials]


def disks(stack: Stack) -> list[Finding]:
    """Whether the disks of the home and of the storage have room."""
    places = [str(stack.settings.home_folder), stack.settings.storage_uri]
    return disk_findings("disk", find_disks(places))


def storage_finding(what: str, trial: Trial) -> Finding:
    """What came of the content-addressed storage.

    Args:
        what: What was looked at.
        trial: What came of it.
    """
    cure = "make it writable, or set ROUNDHOUSE_STORAGE to another place"
    return _tried(what, trial, cure)


def artifact_finding(what: str, trial: Trial) -> Finding:
    """What came of MLflow's artefact storage.

    Args:
        what: What was looked at.
        trial: What came of it.
    """
    cure = (
        "make it writable (its object store's credentials, such as AWS_ACCESS_KEY_ID), or set "
        "ROUNDHOUSE_ARTIFACTS to another place"
    )
    return _tried(what, trial, cure)


def disk_findings(what: str, found: Iterable[Disk]) -> list[Finding]:
    """Whether disks have room: two GiB, and a twentieth unless that is plenty.

    Args:
        what: What was looked at.
        found: The disks.
    """
    findings = []
    for disk in found:
        share = disk.free / disk.total if disk.total else 0.0
        fact = f"{disk.free / GIBIBYTE:,.1f} GiB ({share:.0%}) free at {disk.folder}"
        is_full = disk.free < FEW_BYTES or (share < FEW and disk.free < ENOUGH_BYTES)
        cure = (
            "free some: `mlflow gc` removes what was deleted in MLflow; or set ROUNDHOUSE_HOME or "
            "ROUNDHOUSE_STORAGE to a larger disk"
        )
        findings.append(Finding(what, fact, cure if is_full else ""))
    return findings


def _tried(what: str, trial: Trial, cure: str) -> Finding:
    if trial.problem:
        # what follows its first sentence is a cure as well, for those who only run a pipeline
        return Finding(what, trial.problem.partition(". ")[0].rstrip("."), cure)
    took = f"in {trial.seconds:.1f} s"
    return Finding(what, f"10 MB written and read back at {trial.place} {took}")
