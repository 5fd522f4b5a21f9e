"""The manifest of a training over several nodes by Kubeflow Trainer."""

import json
from pathlib import Path
from typing import Any

import yaml

from infra.clusters import training_node
from tests.infra.kustomize import MANIFESTS, overlay

SCHEMA = Path(__file__).with_name("train_job_schema.json")
(JOB,) = yaml.safe_load_all((MANIFESTS / "training" / "train-job.yaml").read_text())


def closed(schema: Any) -> Any:
    """A schema that refuses what it does not name, where a cluster would drop it in silence."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    return found | ({"additionalProperties": False} if "properties" in found else {})


def patched() -> dict[str, Any]:
    """What is added to the pods that the runtime makes."""
    (patch,) = JOB["spec"]["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    found: dict[str, Any] = job["template"]["spec"]["template"]
    return found


def test_it_is_what_the_trainer_expects() -> None:
    from jsonschema import Draft202012Validator

    schema = closed(json.loads(SCHEMA.read_text()))
    schema["properties"]["metadata"] = {"type": "object"}
    assert [error.message for error in Draft202012Validator(schema).iter_errors(JOB)] == []
    assert not Draft202012Validator(schema).is_valid({**JOB, "spec": {**JOB["spec"], "nodes": 2}})


def test_each_pod_trains_by_an_order() -> None:
    trainer = JOB["spec"]["trainer"]
    assert JOB["spec"]["runtimeRef"]["name"] == "jax-distributed"
    assert trainer["args"][:4] == ["python", "-m", training_node.__name__, "--order"]
    assert {"name": "KERAS_BACKEND", "value": "jax"} in trainer["env"]


def test_its_pods_are_let_in_where_runs_are() -> None:
    labels = patched()["metadata"]["labels"]
    policies = [item for item in overlay("small") if item["kind"] == "NetworkPolicy"]
    (runs,) = [item for item in policies if item["metadata"]["name"] == "runs"]
    (wanted,) = runs["spec"]["podSelector"]["matchExpressions"]
    assert wanted["operator"] == "Exists"
    assert wanted["key"] in labels
    accounts = [item for item in overlay("small") if item["kind"] == "ServiceAccount"]
    account = patched()["spec"]["serviceAccountName"]
    assert account in [item["metadata"]["name"] for item in accounts]


def test_its_pods_are_restricted() -> None:
    spec = patched()["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
