"""A training over several nodes: what is refused, and the Job that the others become a part of."""

import copy
import json
from typing import Any

import pytest
import yaml

from infra.clusters.profiles import TRAINING_VARIABLE, read_resources, resource_variables
from infra.clusters.several_nodes import arrange, require_for_nodes
from tasks.config import PipelineConfig
from tasks.errors import ConfigError
from tasks.nodes import JOB_ID, this_node
from tests.cluster.pod_environment import variables as resolved
from tests.infra.clusters.test_template import DROPPED, PROFILES, SETTINGS, job, pod
from tests.infra.kustomize import MANIFESTS

ON_FOUR = {"training": {"profile": "gpu", "nodes": 4}}


def config(architecture: str = "mlp", batch_size: int = 64) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "pipeline": "digits",
            "ingestion": {"dataset": "digits"},
            "model": {"architecture": architecture},
            "training": {"batch_size": batch_size},
        }
    )


def training_job(nodes: int) -> dict[str, Any]:
    """The Job of a training, as the worker hands it to the cluster."""
    read = read_resources({"training": {"profile": "gpu", "nodes": nodes}}, "digits")
    found = resource_variables(read, PROFILES, SETTINGS, "digits")
    manifest = job(None, **json.loads(found["env"][TRAINING_VARIABLE]))
    arrange(manifest)
    return manifest


def test_one_node_is_the_job_that_it_always_was() -> None:
    manifest = training_job(1)
    assert not {"completions", "parallelism", "completionMode"} & manifest["spec"].keys()
    assert pod(manifest)["containers"][0]["args"][0] != "python"
    assert "subdomain" not in pod(manifest)


@pytest.mark.parametrize("version", ["1.33", "1.35", "1.37"])
def test_four_nodes_are_an_indexed_job_that_kubernetes_accepts(version: str) -> None:
    import kubernetes_validate

    manifest = training_job(4)
    spec = manifest["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    assert spec["backoffLimit"] == 0
    for name in DROPPED:
        pod(manifest).pop(name)
    kubernetes_validate.validate(manifest, version, strict=True)


def test_each_pod_finds_the_first_by_the_service() -> None:
    manifest = training_job(4)
    labels = manifest["spec"]["template"]["metadata"]["labels"]
    service = yaml.safe_load((MANIFESTS / "base" / "training.yaml").read_text())
    assert service["spec"]["selector"].items() <= labels.items()
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["clusterIP"] == "None" or service["spec"]["clusterIP"] is None
    own = {"job-name": "happy-fox-x7", "controller-uid": "5e1f"}
    metadata = {"labels": {f"batch.kubernetes.io/{name}": value for name, value in own.items()}}
    container = copy.deepcopy(pod(manifest)["containers"][0]) | {"envFrom": []}
    api: Any = None
    given = resolved(api, {"metadata": {"namespace": "models", **metadata}}, container)
    node = this_node(given | {"JOB_COMPLETION_INDEX": "3"})
    (port,) = [each["port"] for each in service["spec"]["ports"]]
    name = service["metadata"]["name"]
    assert node.coordinator == f"happy-fox-x7-0.{name}:{port}"
    assert pod(manifest)["subdomain"] == name
    assert (node.count, node.index) == (4, 3)
    assert (given[JOB_ID], given["KERAS_BACKEND"]) == ("5e1f", "jax")


def test_its_pods_are_on_nodes_of_their_own() -> None:
    manifest = training_job(4)
    affinity = pod(manifest)["affinity"]
    (rule,) = affinity["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    labels = manifest["spec"]["template"]["metadata"]["labels"]
    chosen = rule["podAffinityTerm"]["labelSelector"]["matchLabels"]
    assert chosen == {"prefect.io/flow-run-id": labels["prefect.io/flow-run-id"]}
    assert "nodeAffinity" in affinity


def test_the_first_executes_the_run_and_the_others_the_same_program() -> None:
    args = pod(training_job(2))["containers"][0]["args"]
    assert args[:3] == ["python", "-m", "infra.clusters.training_node"]
    assert args[3:] == pod(job(None))["containers"][0]["args"]


@pytest.mark.parametrize(
    ("changed", "environment", "said"),
    [
        ({"architecture": "boosting"}, {}, "'boosting' is no network; expected one"),
        ({"batch_size": 30}, {}, "batch of 30 rows cannot be divided .* training.batch_size to 32"),
        ({}, {"KERAS_BACKEND": "tensorflow"}, "KERAS_BACKEND=tensorflow; expected jax"),
    ],
)
def test_what_cannot_be_trained_over_several_nodes_is_refused(
    changed: dict[str, Any], environment: dict[str, str], said: str
) -> None:
    resources = read_resources(ON_FOUR, "digits")
    require_for_nodes("digits", resources, config(), {"KERAS_BACKEND": "jax"}, SETTINGS)
    with pytest.raises(ConfigError, match=said):
        require_for_nodes("digits", resources, config(**changed), environment, SETTINGS)
    one = read_resources({"training": {"profile": "gpu"}}, "digits")
    require_for_nodes("digits", one, config(**changed), environment, SETTINGS)


def test_each_node_counts_with_its_gpus() -> None:
    of_two = read_resources({"training": {"profile": "gpu", "nodes": 4, "gpus": 2}}, "digits")
    require_for_nodes("digits", of_two, config(batch_size=40), {}, SETTINGS)
    with pytest.raises(ConfigError, match=r"are 8 devices, .* training.batch_size to 40"):
        require_for_nodes("digits", of_two, config(batch_size=36), {}, SETTINGS)


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"nodes": 4}, "Received nodes=4; only a training has several: {training: "),
        ({"training": {"nodes": 0}}, "Received training.nodes=0"),
        ({"training": {"nodes": 65}}, "Received training.nodes=65"),
    ],
)
def test_nodes_are_a_trainings_and_have_bounds(resources: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_resources(resources, "digits")
    assert said in str(error.value)
