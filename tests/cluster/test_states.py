"""What goes wrong with the pods of runs on a real API server, and what Prefect's pages then say."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from infra.clusters.diagnosis import WAIT_ANNOTATION
from tests.cluster.api import eventually
from tests.cluster.conftest import Cluster, new_namespace
from tests.cluster.local_cluster import free_ports
from tests.cluster.node import Node

pytestmark = pytest.mark.cluster
HERE = Path(__file__).parent
POOL, SECONDS = "states", 120


class Work:
    """A namespace, the worker over it, and what Prefect has of its runs."""

    def __init__(
        self, cluster: Cluster, namespace: str, client: SyncPrefectClient, log: Path
    ) -> None:
        self.api, self.namespace, self.client, self.log = cluster.api, namespace, client, log
        self.image = cluster.image

    def start(self, flow: str, variables: dict[str, Any] | None = None, **parameters: Any) -> Any:
        deployment = self.client.read_deployment_by_name(f"{flow}/{flow}")
        made = self.client.create_flow_run_from_deployment(
            deployment.id, parameters=parameters, job_variables=variables or {}
        )
        return made.id

    def state(self, run: Any) -> State[Any]:
        found = self.client.read_flow_run(run).state
        assert found is not None
        return found

    def states(self, run: Any) -> dict[str, str]:
        """The states of a run until now, each with what it said last."""
        return {s.name: s.message or "" for s in self.client.read_flow_run_states(run)}

    def reaches(self, run: Any, *names: str) -> State[Any]:
        what = f"{names}; it had {self.states(run)}; {self.log.read_text()[-3000:]}"
        eventually(lambda: self.state(run).name in names, SECONDS, what)
        return self.state(run)

    def pod(self, run: Any) -> str:
        found = self.api.find("pods", self.namespace, f"prefect.io/flow-run-id={run}")
        return str(max(found, key=lambda p: p["metadata"]["creationTimestamp"])["metadata"]["name"])

    def jobs(self, run: Any) -> list[Any]:
        return self.api.find("jobs", self.namespace, f"prefect.io/flow-run-id={run}")


def template(namespace: str, cluster: Cluster) -> dict[str, Any]:
    """Prefect's own job template, with a place for what the tests choose."""
    from prefect_kubernetes.worker import KubernetesWorker

    found: dict[str, Any] = KubernetesWorker.get_default_base_job_template()
    variables = found["variables"]["properties"]
    for name, value in {"namespace": namespace, "image": cluster.image}.items():
        variables[name]["default"] = value
    text = {"type": "string"}
    variables |= {
        "wait": {**text, "default": "900"},
        "node_selector": {"type": "object"},
        "priority_class": text,
    }
    manifest = found["job_configuration"]["job_manifest"]
    manifest["metadata"]["annotations"] = {WAIT_ANNOTATION: "{{ wait }}"}
    pod = manifest["spec"]["template"]["spec"]
    pod |= {
        "nodeSelector": "{{ node_selector }}",
        "priorityClassName": "{{ priority_class }}",
        "terminationGracePeriodSeconds": 10,
    }
    return found


def deploy(client: SyncPrefectClient, namespace: str, cluster: Cluster, api_url: str) -> None:
    made = WorkPoolCreate(
        name=POOL, type="kubernetes", base_job_template=template(namespace, cluster)
    )
    client.create_work_pool(made)
    spec = spec_from_file_location("worked_flows", HERE / "worked_flows.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    for flow in (module.steps, module.deaf):
        client.create_deployment(
            client.create_flow(flow), flow.name, entrypoint=f"worked_flows.{flow.name}",
            pull_steps=[], work_pool_name=POOL, enforce_parameter_schema=False,
            job_variables={"env": {"PREFECT_API_URL": api_url, "PYTHONPATH": str(HERE)}},
        )  # fmt: skip


@pytest.fixture(scope="module")
def work(
    cluster: Cluster, prefect_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Work]:
    """The worker as a process, as in the cluster."""
    if not cluster.own:
        pytest.skip("needs nodes of its own")
    folder = tmp_path_factory.mktemp("worker")
    with (
        new_namespace(cluster.api) as namespace,
        temporary_settings({PREFECT_API_URL: prefect_server}),
        get_client(sync_client=True) as client,
        (folder / "log").open("wb") as log,
    ):
        deploy(client, namespace, cluster, prefect_server)
        variables = {
            **os.environ,
            "PYTHONPATH": str(HERE.parent.parent),
            "KUBECONFIG": str(cluster.kubeconfig),
            "ROUNDHOUSE_HOME": str(folder),
            "ROUNDHOUSE_PREFECT_API_URL": prefect_server,
            "ROUNDHOUSE_POOL": POOL,
            "ROUNDHOUSE_NAMESPACE": namespace,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_WORKER_WEBSERVER_PORT": str(free_ports(1)[0]),
        }
        command = [sys.executable, "-m", "infra.clusters.worker"]
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        try:
            yield Work(cluster, namespace, client, folder / "log")
            assert process.poll() is None, (folder / "log").read_text()[-3000:]
        finally:
            process.terminate()
            process.wait(timeout=30)


def steps_done(folder: Path) -> int:
    path = folder / "steps"
    return len(path.read_text().splitlines()) if path.exists() else 0


def begun(work: Work, run: Any, folder: Path) -> str:
    """The pod of a run that has begun its steps."""
    work.reaches(run, "Running")
    eventually(lambda: steps_done(folder) > 1, SECONDS, "the first steps")
    return work.pod(run)


def test_a_run_over_its_memory_limit_fails_with_the_limit(work: Work, tmp_path: Path) -> None:
    limits = {"memory_limit": "600Mi", "memory_request": "100Mi"}
    run = work.start("steps", limits, folder=str(tmp_path), seconds=60, megabytes=100)
    state = work.reaches(run, "Failed", "Crashed", "Completed")
    assert state.name == "Failed"
    assert state.message.startswith(
        "Out of memory: the container used more than its limit of 600Mi"
    )
    assert len(work.jobs(run)) == 1


def test_an_image_that_is_not_there_is_told_in_seconds(work: Work, tmp_path: Path) -> None:
    began = time.monotonic()
    image = {"image": "registry.example.org/missing:1.0.0"}
    run = work.start("steps", image, folder=str(tmp_path), seconds=1)
    state = work.reaches(run, "WaitingForImage")
    assert time.monotonic() - began < 60
    assert "registry.example.org/missing:1.0.0 cannot be pulled" in state.message
    work.client.set_flow_run_state(run, Cancelling())
    work.reaches(run, "Cancelled")
    eventually(lambda: work.jobs(run) == [], 60, "the end of its Job")


def test_a_run_that_no_node_takes_is_given_up(work: Work, tmp_path: Path) -> None:
    asked = {"node_selector": {"accelerator": "nvidia-l4"}, "wait": "20 s"}
    run = work.start("steps", asked, folder=str(tmp_path), seconds=1)
    state = work.reaches(run, "Failed")
    assert "without the labels that it asks for (accelerator=nvidia-l4)" in state.message
    assert "WaitingForNode" in work.states(run)
    eventually(lambda: work.jobs(run) == [], 60, "the end of its Job")


def test_a_run_that_waits_for_a_node_starts_once_there_is_one(
    work: Work, node_with: Callable[..., Node], tmp_path: Path
) -> None:
    asked = {"node_selector": {"accelerator": "nvidia-h100"}}
    run = work.start("steps", asked, folder=str(tmp_path), seconds=1)
    work.reaches(run, "WaitingForNode")
    node_with(labels={"accelerator": "nvidia-h100"})
    work.reaches(run, "Completed")


def test_an_evicted_run_goes_on_in_a_new_pod(
    work: Work, node_with: Callable[..., Node], tmp_path: Path
) -> None:
    node = node_with(labels={"kind": "spot"})
    asked = {"node_selector": {"kind": "spot"}}
    run = work.start("steps", asked, folder=str(tmp_path), seconds=8)
    node.evict(begun(work, run, tmp_path))
    work.reaches(run, "Completed")
    assert "was short of memory" in work.states(run)["AwaitingRetry"]
    assert steps_done(tmp_path) in (8, 9)
    assert len(work.jobs(run)) == 2


def test_a_drained_node_is_told_from_one_in_trouble(work: Work, tmp_path: Path) -> None:
    run = work.start("steps", folder=str(tmp_path), seconds=8)
    pod = begun(work, run, tmp_path)
    eviction = {"metadata": {"name": pod, "namespace": work.namespace}}
    work.api.ask(
        "POST", f"/api/v1/namespaces/{work.namespace}/pods/{pod}/eviction",
        {"apiVersion": "policy/v1", "kind": "Eviction", **eviction},
    )  # fmt: skip
    work.reaches(run, "Completed")
    assert "its node is emptied" in work.states(run)["AwaitingRetry"]


def test_a_run_whose_node_is_lost_goes_on_elsewhere(
    work: Work, node_with: Callable[..., Node], tmp_path: Path
) -> None:
    labels = {"kind": "fleeting"}
    node = node_with(labels=labels)
    run = work.start("steps", {"node_selector": labels}, folder=str(tmp_path), seconds=10)
    begun(work, run, tmp_path)
    node_with(labels=labels)
    node.lose()
    work.reaches(run, "Completed")
    assert f"removed from {node.name}" in work.states(run)["AwaitingRetry"]


def test_a_run_that_a_quota_has_no_room_for_waits_and_says_so(work: Work, tmp_path: Path) -> None:
    quota = {"metadata": {"name": "team"}, "spec": {"hard": {"requests.memory": "1Gi"}}}
    work.api.create("resourcequotas", quota, work.namespace)

    def counted() -> bool:
        found = work.api.read("resourcequotas", "team", work.namespace)
        return "requests.memory" in found.get("status", {}).get("hard", {})

    try:
        eventually(counted, what="the quota")
        asked = {"memory_request": "2Gi", "memory_limit": "2Gi"}
        run = work.start("steps", asked, folder=str(tmp_path), seconds=1)
        state = work.reaches(run, "WaitingForQuota")
        assert "exceeded quota: team, requested: requests.memory=2Gi" in state.message
        assert "have the quota raised" in state.message
    finally:
        work.api.delete("resourcequotas", "team", work.namespace)
    work.reaches(run, "Completed")


def test_a_run_that_a_more_urgent_one_puts_out_goes_on_after_it(
    work: Work, node_with: Callable[..., Node], tmp_path: Path
) -> None:
    classes = {"usual": 1, "urgent": 1000}
    for name, value in classes.items():
        work.api.create("priorityclasses", {"metadata": {"name": name}, "value": value})
        (tmp_path / name).mkdir()
    node_with(labels={"kind": "scarce"}, capacity={"cpu": "1"})

    def start(name: str) -> Any:
        asked = {"node_selector": {"kind": "scarce"}, "cpu_request": "600m", "priority_class": name}
        return work.start("steps", asked, folder=str(tmp_path / name), seconds=8)

    try:
        usual = start("usual")
        begun(work, usual, tmp_path / "usual")
        work.reaches(start("urgent"), "Completed")
        work.reaches(usual, "Completed")
    finally:
        for name in classes:
            work.api.delete("priorityclasses", name)
    assert "was needed by a pod of higher priority" in work.states(usual)["AwaitingRetry"]
    assert steps_done(tmp_path / "usual") in (8, 9)


def test_a_cancelled_run_that_hears_nothing_loses_its_pod_within_a_minute(
    work: Work, tmp_path: Path
) -> None:
    run = work.start("deaf", folder=str(tmp_path))
    work.reaches(run, "Running")
    eventually((tmp_path / "deaf").exists, SECONDS, "the start")
    began = time.monotonic()
    work.client.set_flow_run_state(run, Cancelling())
    work.reaches(run, "Cancelled")
    assert time.monotonic() - began < 60


def test_a_run_whose_job_is_deleted_does_not_stay_running(work: Work, tmp_path: Path) -> None:
    run = work.start("steps", folder=str(tmp_path), seconds=600)
    begun(work, run, tmp_path)
    (job,) = work.jobs(run)
    work.api.delete("jobs", job["metadata"]["name"], work.namespace, propagationPolicy="Foreground")
    state = work.reaches(run, "Failed")
    assert f"The Job {job['metadata']['name']} of this run was deleted" in state.message
