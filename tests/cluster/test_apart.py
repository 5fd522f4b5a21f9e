"""A run whose training is a Job of its own, on another kind of node than the rest of it."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tasks import apart
from tests.cluster.api import eventually
from tests.cluster.conftest import Cluster
from tests.cluster.deployed import RUN_SECONDS, Deployed
from tests.cluster.node import Node
from tests.cluster.pod_environment import ROOT
from tests.cluster.test_runs import deployed, store  # noqa: F401

pytestmark = pytest.mark.cluster
GPU, EPOCHS = "nvidia.com/gpu", 300
PROFILES = {
    "profiles": {
        "cpu": {"cpu": "1", "memory": "4Gi"},
        "gpu": {
            "cpu": "1", "memory": "5Gi", "gpus": 1,
            "tolerations": [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}],
        },
    }
}  # fmt: skip
# a node of the tests has no GPU that a process could see; its trainings take their turn as if
GPU_SEEN = """
import sys
if sys.orig_argv[-1] == "prefect.engine":
    from tasks import turns
    gpu_turn = turns.gpu_turn
    turns.gpu_turn = lambda *, wanted: gpu_turn(wanted=True)
"""


@dataclass
class Machines:
    """A cluster with a cheap node and one with a GPU, and digits as it trains on the second.

    Args:
        work: What the tests of runs have in hand.
        node: The node with a GPU.
    """

    work: Deployed
    node: Node

    def training(self, run: str) -> str:
        """The one run that trains for another, once it is there."""
        asked = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}}

        def look() -> Any:
            return self.work.stack.ask("flow_runs/filter", asked)

        what = f"the training of {run}: {self.work.logs(run)[-2000:]}"
        (found,) = eventually(look, RUN_SECONDS, what)
        return str(found["id"])

    def begun(self, **parameters: Any) -> tuple[str, str]:
        """A run that waits, and its training, which has done five epochs."""
        run = self.work.trigger(
            force=True, training={"epochs": EPOCHS, "patience": 0, **parameters}
        )
        training = self.training(run)
        eventually(
            lambda: "epoch 5 of" in self.work.logs(training),
            RUN_SECONDS,
            f"the fifth epoch; {self.work.worker_says()}",
        )
        assert self.work.stack.run(run)["state_name"] == apart.WAITING
        return run, training

    def pod(self, run: str) -> Any:
        """The pod of a run that is at work."""
        return eventually(lambda: self.work.pods(run, "Running"), what=f"a pod of {run}")[0]

    def gpus_in_use(self) -> int:
        """How many slots of the limit on GPUs are taken."""
        return int(self.work.stack.ask("v2/concurrency_limits/gpu")["active_slots"])


@pytest.fixture(scope="module")
def machines(
    cluster: Cluster,
    deployed: Deployed,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Machines]:
    if not cluster.own:
        pytest.skip("needs nodes of its own, which a cluster that is given does not take")
    folder = tmp_path_factory.mktemp("machines")
    (folder / "kubernetes").mkdir()
    (folder / "kubernetes" / "profiles.yaml").write_text(yaml.safe_dump(PROFILES))
    content = yaml.safe_load((ROOT / "infra" / "prefect.yaml").read_text())
    for block in content["deployments"]:
        if block["name"] == "digits":
            block["resources"] = {"profile": "cpu", "training": {"profile": "gpu"}}
    (folder / "prefect.yaml").write_text(yaml.safe_dump(content))
    (folder / "sitecustomize.py").write_text(GPU_SEEN)
    path = {"data": {"PYTHONPATH": f"{folder}:{ROOT}"}}
    deployed.api.patch("configmaps", "roundhouse-settings", path, deployed.namespace)
    deployed.stack.command.environment["ROUNDHOUSE_PIPELINES"] = str(folder / "prefect.yaml")
    taint = {"key": GPU, "value": "present", "effect": "NoSchedule"}
    node = Node(cluster.api, "node-with-gpu", folder / "node", taints=[taint], capacity={GPU: "1"})
    with node.running():
        eventually(
            lambda: len(cluster.api.read("nodes", node.name)["spec"]["taints"]) == 1,
            what="a ready node",
        )
        command = ("deploy", "digits", "training", "--target", "kubernetes")
        done = deployed.stack.command(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        yield Machines(deployed, node)


def test_the_training_runs_where_a_gpu_is_and_the_rest_does_not(machines: Machines) -> None:
    work = machines.work
    run = work.trigger(training={"epochs": 20})
    training = machines.training(run)
    pods = {each: machines.pod(each)["spec"] for each in (run, training)}
    eventually(machines.gpus_in_use, RUN_SECONDS, "the training's turn")
    ended = work.stack.ended(run)
    said = f"{work.logs(run)} {work.logs(training)} {work.worker_says()}"
    assert ended["state_type"] == "COMPLETED", said
    assert [pods[each]["nodeName"] for each in (run, training)] == ["node", machines.node.name]
    limits = [pods[each]["containers"][0]["resources"]["limits"] for each in (run, training)]
    assert [limit.get(GPU) for limit in limits] == [None, "1"]
    assert machines.gpus_in_use() == 0
    assert "digits v1 " in " ".join(work.stack.command("status").stdout.split())
    record = ended["labels"]["roundhouse.mlflow"].split("/runs/")[1].split("?")[0]
    assert json.dumps(work.stack.run(training)["parameters"]).count(record) == 1


def test_an_evicted_run_waits_on_and_an_evicted_training_goes_on(machines: Machines) -> None:
    work = machines.work
    run, training = machines.begun()
    pod = machines.pod(run)["metadata"]["name"]
    eviction = {"metadata": {"name": pod, "namespace": work.namespace}}
    work.api.ask(
        "POST", f"/api/v1/namespaces/{work.namespace}/pods/{pod}/eviction",
        {"apiVersion": "policy/v1", "kind": "Eviction", **eviction},
    )  # fmt: skip
    eventually(lambda: "AwaitingRetry" in work.stack.states(run), what="the eviction of the run")
    machines.node.evict(machines.pod(training)["metadata"]["name"])
    ended = work.stack.ended(run, 2 * RUN_SECONDS)
    said = f"{work.logs(run)} {work.logs(training)} {work.worker_says()}"
    assert ended["state_type"] == "COMPLETED", said
    # the same training, and where it was
    assert machines.training(run) == training
    assert "AwaitingRetry" in work.stack.states(training)
    assert work.logs(training).count(f"epoch 5 of {EPOCHS}:") == 1
    assert "prepare_data reused" in work.logs(run)
    assert [len(work.jobs(each)) for each in (run, training)] == [2, 2]
    assert machines.gpus_in_use() == 0


def test_a_cancelled_run_takes_both_pods_along_within_a_minute(machines: Machines) -> None:
    work = machines.work
    run, training = machines.begun()
    since = time.monotonic()
    work.stack.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    for each in (run, training):
        eventually(lambda: not work.pods(each, "Running"), 60, "the end of the pods")  # noqa: B023
    assert time.monotonic() - since < 60
    ended = [work.stack.ended(each, 60)["state_type"] for each in (run, training)]
    assert ended == ["CANCELLED", "CANCELLED"]
    eventually(lambda: machines.gpus_in_use() == 0, 120, "the slot of the GPU")


def test_a_training_out_of_memory_fails_its_run_with_that_sentence(machines: Machines) -> None:
    work = machines.work
    run, training = machines.begun()
    assert machines.gpus_in_use() == 1
    machines.node.pod(machines.pod(training)["metadata"]["name"]).run_out_of_memory("prefect-job")
    said = "Out of memory: the container used more than its limit of 5Gi"
    assert work.stack.ended(training, 60)["state"]["message"].startswith(said)
    ended = work.stack.ended(run, 60)
    assert (ended["state_type"], said in ended["state"]["message"]) == ("FAILED", True)
    eventually(lambda: not work.pods(run, "Running"), 60, "the end of the run's pod")
    # nobody was left to give it back: it expires
    eventually(lambda: machines.gpus_in_use() == 0, 120, "the slot of the GPU")
