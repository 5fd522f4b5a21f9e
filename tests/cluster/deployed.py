"""Roundhouse as it is on a cluster: its servers, a namespace, and a worker with its rights."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.api import Api, eventually
from tests.cluster.local_cluster import free_ports
from tests.cluster.pod_environment import ROOT

ACCOUNTS = ROOT / "infra" / "kubernetes" / "base" / "accounts.yaml"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
POOL, PASSWORD = "kubernetes", "planted-cluster-password"
RUN_SECONDS = 240


@dataclass
class Deployed:
    """What tests of runs have in hand.

    Args:
        api: The cluster, as its administrator.
        namespace: Where the runs are.
        stack: The servers.
        log: What the worker says.
        worker: The worker.
    """

    api: Api
    namespace: str
    stack: Any
    log: Path
    worker: "Worker"

    def trigger(self, variables: dict[str, Any] | None = None, **parameters: Any) -> str:
        """Presses Run on digits, with job variables of the run's own; the id of the run."""
        deployment = self.stack.ask("deployments/name/train/digits")
        for key, value in parameters.items():
            if isinstance(value, dict):
                parameters[key] = {**deployment["parameters"].get(key, {}), **value}
        place = f"deployments/{deployment['id']}/create_flow_run"
        body = {"parameters": parameters, "job_variables": variables or {}}
        return str(self.stack.ask(place, body)["id"])

    def jobs(self, run: str) -> list[Any]:
        """The Jobs of a run, oldest first."""
        found = self.api.find("jobs", self.namespace, f"prefect.io/flow-run-id={run}")
        return sorted(found, key=lambda job: job["metadata"]["creationTimestamp"])

    def pods(self, run: str, phase: str = "") -> list[Any]:
        """The pods of a run, of one phase or of all."""
        found = self.api.find("pods", self.namespace, f"prefect.io/flow-run-id={run}")
        return [pod for pod in found if phase in ("", pod["status"]["phase"])]

    def started(self, run: str) -> Any:
        """The pod of a run that has begun its stages."""

        def look() -> bool:
            return bool(self.stack.run(run)["state_type"] == "RUNNING")

        eventually(look, RUN_SECONDS, f"{run} running; {self.worker_says()}")
        return eventually(lambda: self.pods(run, "Running"), what=f"a pod of {run}")[0]

    def trains(self, run: str) -> Any:
        """The pod of a run, once its training is at work."""
        body = {
            "flow_runs": {"id": {"any_": [run]}},
            "task_runs": {"state": {"name": {"any_": ["Running"]}}},
        }

        def look() -> bool:
            names = [task["name"] for task in self.stack.ask("task_runs/filter", body)]
            return any(name.startswith("train") for name in names)

        pod = self.started(run)
        eventually(look, RUN_SECONDS, f"the training of {run}")
        return pod

    def logs(self, run: str) -> str:
        """What the pages show of a run's log."""
        asked = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return "\n".join(entry["message"] for entry in self.stack.ask("logs/filter", asked))

    def message(self, run: str) -> str:
        """What the pages say of a run's state."""
        return str(self.stack.run(run)["state"]["message"])

    def worker_says(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


def prepare(api: Api, namespace: str, settings: dict[str, str], secrets: dict[str, str]) -> None:
    """The service accounts and roles of our manifests, and what the pods of runs read."""
    for item in yaml.safe_load_all(ACCOUNTS.read_text()):
        for subject in item.get("subjects", []):
            subject["namespace"] = namespace
        api.apply(item, namespace)
    name = {"name": "roundhouse-settings"}
    api.create("configmaps", {"metadata": name, "data": settings}, namespace)
    secret = {"metadata": {"name": "roundhouse-secrets"}, "stringData": secrets}
    api.create("secrets", secret, namespace)


class Worker:
    """The worker of the cluster as a process.

    Args:
        variables: Its environment.
        log: The file that takes what it says.
    """

    def __init__(self, variables: dict[str, str], log: Path) -> None:
        self._variables, self._log = variables, log
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "infra.clusters.worker"]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=self._variables, stdout=output, stderr=output, cwd=self._log.parent
            )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def require_alive(self) -> None:
        assert self._process.poll() is None, self._log.read_text(errors="replace")[-4000:]

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()


@contextlib.contextmanager
def worker(kubeconfig: Path, settings: dict[str, str], log: Path) -> Iterator[Worker]:
    """The worker, with a service account's rights, for as long as it lasts."""
    (port,) = free_ports(1)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW"))}
    variables = {
        **inherited,
        **settings,
        "ROUNDHOUSE_HOME": str(log.parent / "worker"),
        "PYTHONPATH": str(ROOT),
        "KUBECONFIG": str(kubeconfig),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_WEBSERVER_PORT": str(port),
    }
    process = Worker(variables, log)
    try:
        yield process
        process.require_alive()
    finally:
        process.stop()
