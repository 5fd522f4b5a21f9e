"""The manifests of a training over several nodes."""

import pytest
import yaml

from infra.clusters import training_node
from tasks.fitting.processes import EXIT_PERMANENT
from tasks.nodes import this_node
from tests.infra.kustomize import MANIFESTS
from tests.infra.manifest_policy import pod_template, violations
from tests.infra.test_manifests import VERSIONS, find, secret_keys

FOLDER = MANIFESTS / "training"
OBJECTS = list(yaml.safe_load_all((FOLDER / "indexed-job.yaml").read_text()))
JOB = find(OBJECTS, "Job", "training")
COMMAND = ["python", "-m", training_node.__name__, "orders/training"]


@pytest.mark.parametrize("version", VERSIONS[-1:])
def test_kubernetes_accepts_the_objects(version: str) -> None:
    import kubernetes_validate

    for item in OBJECTS:
        kubernetes_validate.validate(item, version, strict=True)


def test_the_pods_find_each_other_by_what_the_job_gives_them() -> None:
    pod = pod_template(JOB)["spec"]
    (container,) = pod["containers"]
    assert container["args"] == COMMAND
    given = {each["name"]: each["value"] for each in container["env"]}
    assert this_node(given | {"JOB_COMPLETION_INDEX": "1"}).count == JOB["spec"]["completions"]
    # the first pod's name by its Job and index, in the service that names them
    service = find(OBJECTS, "Service", pod["subdomain"])
    host, _, port = given["JAX_COORDINATOR_ADDRESS"].partition(":")
    assert host == f"{JOB['metadata']['name']}-0.{service['metadata']['name']}"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert [int(port)] == [each["port"] for each in service["spec"]["ports"]]
    assert service["spec"]["selector"].items() <= pod_template(JOB)["metadata"]["labels"].items()


def test_all_start_again_but_not_where_that_mends_nothing() -> None:
    spec = JOB["spec"]
    assert spec["parallelism"] == spec["completions"]
    assert (spec["maxFailedIndexes"], pod_template(JOB)["spec"]["restartPolicy"]) == (0, "Never")
    (rule,) = [each for each in spec["podFailurePolicy"]["rules"] if each["action"] == "FailJob"]
    assert rule["onExitCodes"]["values"] == [EXIT_PERMANENT]


def test_the_policy_holds_for_its_pods() -> None:
    # accounts, settings and the namespace are those of an overlay
    pods = [said for said in violations([JOB], secret_keys("small")) if said.startswith("Job")]
    elsewhere = ("roundhouse-", "is in another namespace")
    assert [said for said in pods if not any(each in said for each in elsewhere)] == []


def test_the_train_job_runs_the_same() -> None:
    (job,) = yaml.safe_load_all((FOLDER / "train-job.yaml").read_text())
    trainer = job["spec"]["trainer"]
    assert (job["kind"], job["spec"]["runtimeRef"]["name"]) == ("TrainJob", "jax-distributed")
    assert trainer["command"] == COMMAND
    assert trainer["numNodes"] == JOB["spec"]["completions"]
    assert trainer["image"] == pod_template(JOB)["spec"]["containers"][0]["image"]
