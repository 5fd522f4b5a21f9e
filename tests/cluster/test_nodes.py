"""A pipeline whose training is over two nodes, on a real API server: two pods of one Job."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from infra.clusters.profiles import TRAINING_VARIABLE
from tasks.judgement import TrainedModel
from tasks.storage import Storage
from tests.cluster.api import eventually
from tests.cluster.deployed import POOL, RUN_SECONDS, Deployed
from tests.cluster.pod_environment import ROOT
from tests.cluster.test_runs import LONG, deployed, store  # noqa: F401

pytestmark = pytest.mark.cluster
RESOURCES = {"training": {"profile": "cpu", "nodes": 2}}
DIVIDED = {"epochs": 40, "patience": 0, "batch_size": 64}


class Nodes:
    """Runs of digits that train over two nodes.

    Args:
        work: What the tests of runs have in hand.
    """

    def __init__(self, work: Deployed) -> None:
        self.work = work

    def training(self, run: str) -> str:
        """The run that trains for another, once it is there."""
        body = {"deployments": {"name": {"any_": ["training"]}}}

        def look() -> list[Any]:
            found = self.work.stack.ask("flow_runs/filter", body)
            return [each for each in found if run in each["parameters"]["record"]]

        return str(eventually(look, RUN_SECONDS, f"the training of {run}")[0]["id"])

    def reaches(self, training: str, epoch: int) -> None:
        """Returns once so many epochs are done."""
        what = f"epoch {epoch}; {self.work.worker_says()}"
        eventually(lambda: f"epoch {epoch} of" in self.work.logs(training), RUN_SECONDS, what)

    def pod(self, training: str, index: int) -> str:
        """The name of the pod of that index which is at work."""
        label = "batch.kubernetes.io/job-completion-index"
        (found,) = [
            pod["metadata"]["name"]
            for pod in self.work.pods(training, "Running")
            if pod["metadata"]["labels"][label] == str(index)
        ]
        return str(found)

    def losses(self, training: str) -> list[float]:
        """The validation loss of each epoch, as the training's record has it."""
        parameters = self.work.stack.run(training)["parameters"]
        content = Storage("s3://models/storage").read_record(parameters["record"])
        trained = TrainedModel.model_validate_json(content or "")
        assert len(trained.hardware.devices) == 2
        return list(trained.history["val_loss"])


@pytest.fixture(scope="module")
def nodes(
    deployed: Deployed,  # noqa: F811
    store: dict[str, str],  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Nodes]:
    """The pipelines file with two nodes for digits, deployed."""
    path = tmp_path_factory.mktemp("pipelines") / "prefect.yaml"
    content = yaml.safe_load((ROOT / "infra" / "prefect.yaml").read_text())
    for block in content["deployments"]:
        if block["name"] == "digits":
            block["resources"] = RESOURCES
            block["parameters"]["training"] |= DIVIDED
    path.write_text(yaml.safe_dump(content))
    deployed.stack.command.environment["ROUNDHOUSE_PIPELINES"] = str(path)
    done = deployed.stack.command("deploy", "digits", "training", "--pool", POOL)
    assert done.returncode == 0, done.stderr
    variables = deployed.stack.ask("deployments/name/train/digits")["job_variables"]
    assert '"nodes": 2' in variables["env"][TRAINING_VARIABLE]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.items():
            patch.setenv(name, value)
        yield Nodes(deployed)


def test_a_lost_pod_ends_all_and_the_training_goes_on_to_the_same_model(nodes: Nodes) -> None:
    work, run = nodes.work, nodes.work.trigger()
    training = nodes.training(run)
    nodes.reaches(training, 5)
    (job,) = work.jobs(training)
    assert (job["spec"]["completionMode"], job["spec"]["parallelism"]) == ("Indexed", 2)
    work.api.delete("pods", nodes.pod(training, 1), work.namespace)
    ended = work.stack.ended(run, 2 * RUN_SECONDS)
    log = work.logs(training)
    assert ended["state_type"] == "COMPLETED", f"{work.message(run)} {log} {work.worker_says()}"
    assert "AwaitingRetry" in work.stack.states(training)
    assert "The pod of this run was deleted on" in log
    assert log.count("epoch 5 of 40") == 1
    assert len(work.jobs(training)) == 2
    again = work.trigger(force=True)
    undisturbed = nodes.training(again)
    ended = work.stack.ended(again, RUN_SECONDS)
    assert ended["state_type"] == "COMPLETED", f"{work.message(again)} {work.logs(undisturbed)}"
    assert len(work.jobs(undisturbed)) == 1
    assert nodes.losses(training) == pytest.approx(nodes.losses(undisturbed), rel=1e-5)
    status = work.stack.command("status")
    assert re.search(r"digits +v\d+ +accuracy 0\.9", status.stdout), status.stdout + status.stderr


def test_a_training_that_is_recalled_ends_all_pods(nodes: Nodes) -> None:
    work = nodes.work
    body = {"deployments": {"name": {"any_": ["training"]}}, "sort": "START_TIME_DESC"}
    if not (found := work.stack.ask("flow_runs/filter", body)):
        work.stack.ended(work.trigger(), RUN_SECONDS)
        found = work.stack.ask("flow_runs/filter", body)
    earlier = found[-1]
    place = f"deployments/{earlier['deployment_id']}/create_flow_run"
    asked = {"parameters": earlier["parameters"], "job_variables": earlier["job_variables"]}
    run = str(work.stack.ask(place, asked)["id"])
    ended = work.stack.ended(run)
    assert ended["state_type"] == "COMPLETED", work.logs(run)
    assert "epoch 1 of" not in work.logs(run)
    eventually(lambda: len(work.pods(run, "Succeeded")) == 2, 60, "the end of both pods")


def test_a_cancelled_training_loses_all_of_its_pods_within_a_minute(nodes: Nodes) -> None:
    work, run = nodes.work, nodes.work.trigger(force=True, training=LONG)
    training = nodes.training(run)
    nodes.reaches(training, 2)
    since = time.monotonic()
    work.stack.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    eventually(lambda: not work.pods(run, "Running"), 60, "the end of the run's pod")
    eventually(lambda: not work.pods(training, "Running"), 60, "the end of the training's pods")
    assert time.monotonic() - since < 60
    assert work.stack.ended(training, 60)["state_type"] == "CANCELLED"
