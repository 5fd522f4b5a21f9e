"""What runs find where they execute: the flow `probe`, sent through the API as every run is."""

import json
import time
from typing import TYPE_CHECKING
from uuid import UUID

from infra.examinations import deployments, places, servers
from infra.examinations.findings import MLFLOW_URL, Finding, Stack
from tasks.probe import ProbeReport, find_versions
from tasks.remote import shown

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

RUN_SECONDS = 60.0
# a Job waits for its node and for its image
JOB_SECONDS = 600.0
POLL_SECONDS = 0.25


def runs(stack: Stack) -> list[Finding]:
    """Runs the probe on the worker and judges what it found there."""
    found = deployments.read_deployments(stack)
    probes = [d for d in found if d.name == deployments.PROBE]
    if not probes:
        return [Finding("runs", "there is no deployment `probe`", f"run `{stack.deploy}`")]
    if not deployments.is_polled(stack, probes[0].work_pool_name or ""):
        # of which the line on the worker tells
        return []
    began = time.monotonic()
    with stack.client() as client:
        run = _finished(client, probes[0], _parameters(stack, found), longest(stack))
        if not (run.state and run.state.is_completed()):
            return [_unfinished(stack, run, probes[0].work_pool_name or "")]
        report = _read_report(client, run.id)
    seconds = time.monotonic() - began
    pool = f"pool {probes[0].work_pool_name} at {report.host}"
    first = Finding("runs", f"one ran from {pool} and ended after {seconds:.1f} s")
    return [first, *judge(stack, report, found)]


def longest(stack: Stack) -> float:
    """The seconds that a run may take."""
    return JOB_SECONDS if stack.in_cluster else RUN_SECONDS


def judge(stack: Stack, report: ProbeReport, found: "list[DeploymentResponse]") -> list[Finding]:
    """What a run found where it executes, against what is so here.

    Args:
        stack: The servers.
        report: What the run found.
        found: The deployments.
    """
    return [
        *_code(report),
        _same_places(stack, report),
        places.storage_finding("runs: storage", report.storage),
        *(places.artifact_finding("runs: artefacts", trial) for trial in report.artifacts),
        _versions(report),
        servers.clock_finding("runs: clocks", report.clocks, report.host),
        *places.disk_findings("runs: disk", report.disks),
        _gpus(stack, report, found),
    ]


def _parameters(stack: Stack, found: "list[DeploymentResponse]") -> dict[str, list[str]]:
    entrypoints = dict.fromkeys(d.entrypoint for d in found if d.entrypoint)
    return {"entrypoints": list(entrypoints), "experiments": list(stack.names)}


def _finished(
    client: "SyncPrefectClient",
    deployment: "DeploymentResponse",
    parameters: dict[str, list[str]],
    seconds: float,
) -> "FlowRun":
    """The run when it has ended, or as it is when it should have; then it is taken back."""
    from prefect.states import Cancelling, Scheduled

    run = client.create_flow_run_from_deployment(
        deployment.id, parameters=parameters, state=Scheduled(), name="roundhouse doctor"
    )
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run = client.read_flow_run(run.id)
        if run.state and run.state.is_final():
            return run
        time.sleep(POLL_SECONDS)
    client.set_flow_run_state(run.id, Cancelling(), force=False)
    return run


def _read_report(client: "SyncPrefectClient", run_id: UUID) -> ProbeReport:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
    # Prefect keeps the rows of a table as text
    rows = json.loads(str(client.read_artifacts(artifact_filter=only)[0].data))
    return ProbeReport.model_validate({row["what"]: json.loads(row["found"]) for row in rows})


def _unfinished(stack: Stack, run: "FlowRun", pool: str) -> Finding:
    address = f"{stack.pages}/runs/flow-run/{run.id}"
    state = run.state.name if run.state else "unknown"
    if run.state and run.state.is_final():
        said = (run.state.message or "").partition("\n")[0]
        return Finding("runs", f"the probe ended as {state}: {said}", f"read its log at {address}")
    if run.state and run.state.is_scheduled():
        fact = f"none was taken from pool {pool} in {longest(stack):g} s"
        cure = (
            "look again when the runs at work have ended; where none is, look whether its worker "
            "polls and whether its pool or queue has a concurrency limit"
        )
        return Finding("runs", fact, cure)
    fact = f"the probe was still {state} after {longest(stack):g} s"
    return Finding("runs", fact, f"read its log at {address}")


def _code(report: ProbeReport) -> list[Finding]:
    problems = {name: problem for name, problem in report.code.items() if problem}
    if not problems:
        return [Finding("runs: code", f"{', '.join(report.code)} importable")]
    cure = "install this version of roundhouse-ml, by its lock file, where the worker runs"
    return [
        Finding("runs: code", f"{name} cannot be imported ({problem})", cure)
        for name, problem in problems.items()
    ]


def _same_places(stack: Stack, report: ProbeReport) -> Finding:
    settings = stack.settings
    if stack.in_cluster:
        said = f"{report.mlflow} and {report.storage.place}, as the cluster names them"
        return Finding("runs: places", said)
    for there, here, setting in (
        (report.mlflow, stack.mlflow or settings.mlflow_uri, MLFLOW_URL),
        (report.storage.place, shown(settings.storage_uri), "ROUNDHOUSE_STORAGE"),
    ):
        if there != here:
            fact = f"runs use {there}, and this command {here}"
            cure = f"set {setting} alike here and where the worker runs"
            return Finding("runs: places", fact, cure)
    return Finding("runs: places", "the same MLflow and the same storage as here")


def _versions(report: ProbeReport) -> Finding:
    here = find_versions()
    other = [
        f"{name} {there or 'missing'} (here {here[name]})"
        for name, there in report.versions.items()
        if name in here and there != here[name]
    ]
    if other:
        cure = "install requirements.lock both here and where the worker runs"
        return Finding("runs: versions", ", ".join(other), cure)
    return Finding("runs: versions", ", ".join(f"{n} {v}" for n, v in report.versions.items()))


def _gpus(stack: Stack, report: ProbeReport, found: "list[DeploymentResponse]") -> Finding:
    asking = [deployment.name for deployment in found if deployments.asks_for_gpu(deployment)]
    seen = ", ".join(report.gpus)
    if stack.in_cluster:
        # each profile has nodes of its own, and they were looked at
        return Finding("runs: GPUs", f"{seen or 'none'} seen where the probe ran")
    if not asking:
        return Finding("runs: GPUs", f"none asked for; {seen or 'none'} seen")
    if seen:
        return Finding("runs: GPUs", f"{seen}, asked for by {', '.join(asking)}")
    fact = f"none seen, and {', '.join(asking)} asks for one"
    cure = (
        "put it on a pool with GPUs (`roundhouse deploy NAME --pool POOL`), install NVIDIA's "
        "driver, or set training.precision to auto"
    )
    return Finding("runs: GPUs", fact, cure)
