"""The job template of a pool on Kubernetes, rendered by Prefect's own worker."""

import asyncio
import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from infra.clusters.clear_text import without_secrets
from infra.clusters.profiles import load_profiles, read_resources, resource_variables
from infra.clusters.template import START_WITHIN, base_job_template
from tasks.errors import ConfigError
from tasks.settings import Settings

SETTINGS = Settings(image="registry.example.org/roundhouse:1.2.3", namespace="models")
PROFILES = load_profiles(SETTINGS)
TEMPLATE = base_job_template(SETTINGS, PROFILES)
# Prefect demands these two in the pod, where Kubernetes knows no such field and drops them
DROPPED = {"parallelism": 1, "completions": 1}
OWN: dict[str, Any] = {
    "image_pull_secrets": [{"name": "registry"}],
    "priority_class_name": "batch",
    "runtime_class_name": "nvidia",
    "cpu_limit": "8",
    "env": {"OWN": "1"},
    "env_from": [{"secretRef": {"name": "other", "optional": True}}],
    "labels": {"team": "vision"},
    "annotations": {"example.org/cost": "7"},
    "work_volume": {"name": "work", "persistentVolumeClaim": {"claimName": "checkpoints"}},
    "pod_watch_timeout_seconds": 1800,
    "gpu_type": "NVIDIA-L4",
    "name": "mine",
    "command": "python -m prefect.engine",
}


def job(resources: dict[str, Any] | None, **own: Any) -> dict[str, Any]:
    """The Job that Prefect's worker would make."""
    from prefect.client.schemas.objects import FlowRun
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    read = read_resources(resources, "digits")
    values = {**resource_variables(read, PROFILES, SETTINGS, "digits"), **own}
    # nothing in the template refers to a block or a variable of the server
    client: Any = object()
    render = KubernetesWorkerJobConfiguration.from_template_and_values(
        TEMPLATE, values, client=client
    )
    configuration = asyncio.run(render)
    configuration.prepare_for_flow_run(FlowRun(flow_id=uuid.uuid4(), name="happy-fox"))
    return json.loads(json.dumps(configuration.job_manifest))


def environment_of(manifest: dict[str, Any]) -> dict[str, str]:
    (container,) = pod(manifest)["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def pod(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", ["1.33", "1.35", "1.37"])
@pytest.mark.parametrize(
    ("resources", "own"),
    [(None, {}), ({"profile": "gpu", "training": {}}, {}), ({"profile": "gpu-spot"}, OWN)],
    ids=["nothing said", "gpu", "all variables"],
)
def test_the_job_is_what_kubernetes_expects(
    resources: dict[str, Any] | None, own: dict[str, Any], version: str
) -> None:
    import kubernetes_validate

    manifest = job(resources, **own)
    assert {name: pod(manifest).pop(name) for name in DROPPED} == DROPPED
    kubernetes_validate.validate(manifest, version, strict=True)
    assert "{{" not in json.dumps(manifest)


def test_every_variable_is_used_and_every_use_is_a_variable() -> None:
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(TEMPLATE["job_configuration"])))
    assert used == set(TEMPLATE["variables"]["properties"])


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The fields of a form at every depth, in the order of the pages."""
    properties = {**schema.get("properties", {}), **schema.get("items", {}).get("properties", {})}
    assert [field["position"] for field in properties.values()] == [*range(len(properties))]
    for name, field in properties.items():
        yield name, field
        yield from fields(field)


def test_every_variable_has_words_and_bounds_for_the_form() -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(TEMPLATE["variables"])
    for name, schema in fields(TEMPLATE["variables"]):
        assert schema["title"], name
        assert schema["description"].endswith("."), name
        if schema["type"] == "integer":
            assert schema["minimum"] < schema["maximum"], name
        if "default" in schema:
            Draft202012Validator(schema).validate(schema["default"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image", "registry.example.org/roundhouse"),
        ("image", "registry.example.org/roundhouse:latest"),
        ("memory_limit", "16GB"),
        ("gpus", 17),
        ("pod_watch_timeout_seconds", 10),
        ("namespace", "My Namespace"),
        ("node_requirements", []),
    ],
)
def test_the_form_refuses_what_no_cluster_takes(name: str, value: Any) -> None:
    from jsonschema import Draft202012Validator

    assert not Draft202012Validator(TEMPLATE["variables"]).is_valid({name: value})


def test_a_run_may_do_nothing_that_it_need_not() -> None:
    found = pod(job(None))
    (container,) = found["containers"]
    assert found["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["runAsUser"] == found["securityContext"]["fsGroup"] == 10001
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert found["serviceAccountName"] == "roundhouse-run"
    assert found["automountServiceAccountToken"] is False
    assert found["enableServiceLinks"] is False


@pytest.mark.parametrize(
    "resources", [None, {"training": {"profile": "gpu"}}], ids=["nothing said", "training apart"]
)
def test_passwords_come_from_the_secret_and_stand_in_no_job(resources: Any) -> None:
    from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

    with temporary_settings({PREFECT_API_AUTH_STRING: "admin:a-planted-password"}):
        manifest = job(resources)
    env = environment_of(manifest)
    assert env["PREFECT_API_AUTH_STRING"] == "$(ROUNDHOUSE_USER):$(ROUNDHOUSE_PASSWORD)"
    assert env["MLFLOW_TRACKING_PASSWORD"] == "$(ROUNDHOUSE_PASSWORD)"
    (container,) = pod(manifest)["containers"]
    assert {"secretRef": {"name": "roundhouse-secrets"}} in container["envFrom"]
    assert "planted" not in json.dumps(manifest)


@pytest.mark.parametrize(
    "own",
    [
        {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60"}},
        {"env.PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60"},
        {"env": {"PREFECT_API_AUTH_STRING": "admin:a-planted-password"}},
        {"env": {"PREFECT_API_AUTH_STRING": None}},
    ],
)
def test_no_variables_of_a_run_put_the_password_into_its_job(own: dict[str, Any]) -> None:
    from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

    with temporary_settings({PREFECT_API_AUTH_STRING: "admin:a-planted-password"}):
        manifest = job(None, **own)
    without_secrets(manifest, {"PREFECT_API_AUTH_STRING": "admin:a-planted-password"})
    assert "planted" not in json.dumps(manifest)
    for name, value in dict(own.get("env", {})).items():
        if value == "60":
            assert environment_of(manifest)[name] == value


def test_a_run_takes_a_gpus_memory_as_it_needs_it_in_every_stage() -> None:
    env = environment_of(job({"profile": "gpu"}))
    assert env["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert env["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


@pytest.mark.parametrize("profile", ["cpu", "gpu", "gpu-spot"])
def test_a_lost_node_is_given_up_after_a_minute(profile: str) -> None:
    tolerated = pod(job({"profile": profile}))["tolerations"]
    for taint in ("not-ready", "unreachable"):
        assert {
            "key": f"node.kubernetes.io/{taint}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 60,
        } in tolerated


def test_a_gpu_profile_asks_for_a_gpu_its_image_and_a_node_that_has_one() -> None:
    manifest = job({"profile": "gpu", "memory": "24Gi", "gpus": 2, "gpu_type": "NVIDIA-L4"})
    (container,) = pod(manifest)["containers"]
    assert container["image"] == "registry.example.org/roundhouse:1.2.3-gpu"
    assert container["resources"] == {
        "requests": {"cpu": "4", "memory": "24Gi"},
        "limits": {"memory": "24Gi", "nvidia.com/gpu": 2},
    }
    assert pod(manifest)["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod(manifest)[
        "tolerations"
    ]


def test_what_is_said_of_time_reaches_whoever_watches() -> None:
    manifest = job(None, pod_watch_timeout_seconds=1800)
    assert manifest["metadata"]["annotations"][START_WITHIN].split()[0] == "1800"
    assert manifest["spec"]["backoffLimit"] == 0
    assert manifest["spec"]["activeDeadlineSeconds"] == 86_400
    behaviour = {e["name"]: e["value"] for e in pod(manifest)["containers"][0]["env"]}
    assert behaviour["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"


def test_the_working_folder_can_be_a_claim() -> None:
    volumes = pod(job(None, work_volume=OWN["work_volume"]))["volumes"]
    assert OWN["work_volume"] in volumes
    assert len({volume["name"] for volume in volumes}) == len(volumes)


def test_our_labels_stay_beside_prefects() -> None:
    labels = job(None, labels={"team": "vision"})["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/part-of"] == "roundhouse"
    assert labels["team"] == "vision"
    assert uuid.UUID(labels["prefect.io/flow-run-id"])


def test_a_digest_takes_no_suffix() -> None:
    pinned = Settings(image=f"registry.example.org/roundhouse@sha256:{'0' * 64}")
    with pytest.raises(ConfigError, match=r"expected a tag alone, or `image` in that profile"):
        resource_variables(read_resources({"profile": "gpu"}, "x"), PROFILES, pinned, "x")
