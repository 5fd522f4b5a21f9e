"""The manifests of infra/kubernetes: what Kubernetes accepts, and what our policy allows."""

import copy
import functools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils

from infra.clusters.processes import Process
from infra.clusters.worker import PERMISSIONS
from tasks.settings import Settings
from tests.infra.kustomize import MANIFESTS, built, overlay, render
from tests.infra.manifest_policy import SECRETS, containers, pod_template, violations

Objects = list[dict[str, Any]]
OVERLAYS = ("small", "external")
VERSIONS = sorted(set(utils.all_versions()), key=lambda v: [int(n) for n in v.split(".")])[-3:]

every_overlay = pytest.mark.parametrize("name", OVERLAYS)


def find(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    return next(i for i in objects if (i["kind"], i["metadata"]["name"]) == (kind, name))


def variables(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def secret_keys(name: str) -> dict[str, set[str]]:
    folder = MANIFESTS / "overlays" / name
    return {secret: set(variables(folder / file)) for secret, file in SECRETS.items()}


def settings_of(objects: Objects) -> dict[str, str]:
    data: dict[str, str] = find(objects, "ConfigMap", "roundhouse-settings")["data"]
    return data


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_every_object(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # it reads a megabyte of definitions again for each object
    monkeypatch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))
    seen = {json.dumps(i, sort_keys=True): i for name in OVERLAYS for i in overlay(name)}
    for item in seen.values():
        kubernetes_validate.validate(item, version, strict=True)
    unknown = copy.deepcopy(find(overlay("small"), "Deployment", "worker"))
    unknown["spec"]["template"]["spec"]["tolerance"] = []
    with pytest.raises(kubernetes_validate.ValidationError, match="tolerance"):
        kubernetes_validate.validate(unknown, version, strict=True)


@every_overlay
def test_the_policy_holds(name: str) -> None:
    assert violations(overlay(name), secret_keys(name)) == []


def change(kind: str, name: str, *path: Any, to: Any) -> Callable[[Objects], None]:
    def changed(objects: Objects) -> None:
        place: Any = find(objects, kind, name)
        for part in path[:-1]:
            place = place[part]
        if to is None:
            del place[path[-1]]
        else:
            place[path[-1]] = to

    return changed


def remove(kind: str, name: str) -> Callable[[Objects], None]:
    return lambda objects: objects.remove(find(objects, kind, name))


POD = ("spec", "template", "spec")
FIRST = (*POD, "containers", 0)
BROKEN = {
    "may run as root": change(
        "Deployment", "mlflow", *POD, "securityContext", "runAsNonRoot", to=False
    ),
    "says no user other than 0": change(
        "StatefulSet", "redis", *POD, "securityContext", "runAsUser", to=0
    ),
    "has no seccomp profile": change(
        "Job", "migration", *POD, "securityContext", "seccompProfile", to=None
    ),
    "shares the node's namespaces": change("Deployment", "worker", *POD, "hostNetwork", to=True),
    "mounts a path of the node": change(
        "Deployment", "worker", *POD, "volumes", 0, to={"name": "home", "hostPath": {"path": "/"}}
    ),
    "has a token for the cluster's API": change(
        "Deployment", "prefect", *POD, "automountServiceAccountToken", to=True
    ),
    "uses the default service account": change(
        "Deployment", "prefect", *POD, "serviceAccountName", to="default"
    ),
    "such as MLFLOW_PORT": change("Deployment", "mlflow", *POD, "enableServiceLinks", to=None),
    "has no readinessProbe": change("Deployment", "prefect", *FIRST, "readinessProbe", to=None),
    "may gain privileges": change(
        "Deployment", "prefect", *POD, "initContainers", 0, "securityContext", to={}
    ),
    "may write to its root file system": change(
        "StatefulSet", "postgres", *FIRST, "securityContext", "readOnlyRootFilesystem", to=False
    ),
    "keeps capabilities": change(
        "StatefulSet", "store", *FIRST, "securityContext", "capabilities", to={"add": ["NET_RAW"]}
    ),
    "without a version": change("Deployment", "worker", *FIRST, "image", to="roundhouse:latest"),
    "has no limits of memory": change(
        "CronJob", "retention", "spec", "jobTemplate", *FIRST, "resources", "limits", to={"cpu": 1}
    ),
    "ROUNDHOUSE_PASSWORD is written down": change(
        "ConfigMap", "roundhouse-settings", "data", "ROUNDHOUSE_PASSWORD", to="words"
    ),
    "PASSWORD is written down": change(
        "StatefulSet", "redis", *FIRST, "env", 0, to={"name": "PASSWORD", "value": "words"}
    ),
    "holds a user or a password": change(
        "ConfigMap", "roundhouse-settings", "data", "PLACE", to="postgresql://a:b@c/d"
    ),
    "no service account roundhouse-run": change(
        "RoleBinding", "roundhouse-worker", "subjects", 0, "name", to="roundhouse-runner"
    ),
    "no secret roundhouse-runs": change(
        "Deployment", "mlflow", *FIRST, "envFrom", 1, "secretRef", "name", to="roundhouse-runs"
    ),
    "no key PASSWORD in roundhouse-servers": change(
        "StatefulSet", "redis", *FIRST, "env", 0, "valueFrom", "secretKeyRef", "key", to="PASSWORD"
    ),
    "no ConfigMap postgres-databases": remove("ConfigMap", "postgres-databases"),
    "no volume scratch": change("Deployment", "worker", *POD, "volumes", 1, "name", to="rest"),
    "StatefulSet postgres: no service postgres": remove("Service", "postgres"),
    "its selector does not match its pods": change(
        "Deployment", "worker", "spec", "selector", "matchLabels", to={"name": "worker"}
    ),
    "PodDisruptionBudget mlflow: its selector matches no pod": remove("Deployment", "mlflow"),
    "Service mlflow: no port web": change(
        "Service", "mlflow", "spec", "ports", 0, "targetPort", to="web"
    ),
    "NetworkPolicy store: its selector matches no pod": remove("StatefulSet", "store"),
    "NetworkPolicy worker: to matches no pod": remove("Deployment", "prefect"),
    "NetworkPolicy redis: no port 6380": change(
        "NetworkPolicy", "redis", "spec", "ingress", 0, "ports", 0, "port", to=6380
    ),
    "allows everything of a kind": change(
        "Role", "roundhouse-worker", "rules", 0, "verbs", to=["*"]
    ),
    "reads secrets": change("Role", "roundhouse-worker", "rules", 1, "resources", to=["secrets"]),
    "reaches beyond the namespace": change("Role", "roundhouse-worker", "kind", to="ClusterRole"),
    "does not enforce restricted pods": change(
        "Namespace", "roundhouse", "metadata", "labels", to={}
    ),
    "is in another namespace": change("Service", "mlflow", "metadata", "namespace", to="default"),
}


@pytest.mark.parametrize("said", BROKEN)
def test_the_policy_finds_what_is_wrong(said: str) -> None:
    objects = copy.deepcopy(overlay("small"))
    BROKEN[said](objects)
    assert any(said in found for found in violations(objects, secret_keys("small")))


@every_overlay
def test_one_image_and_one_namespace_hold_everywhere(name: str) -> None:
    objects = overlay(name)
    own = {
        container["image"]
        for item in objects
        if item["kind"] in ("Deployment", "Job", "CronJob")
        for container in containers(pod_template(item)["spec"])
    }
    assert own == {settings_of(objects)["ROUNDHOUSE_IMAGE"]}
    assert settings_of(objects)["ROUNDHOUSE_NAMESPACE"] == "roundhouse"


def test_the_image_and_the_namespace_are_set_in_one_place_each(tmp_path: Path) -> None:
    copied = tmp_path / "kubernetes"
    shutil.copytree(MANIFESTS, copied)
    path = copied / "overlays" / "small" / "kustomization.yaml"
    content = yaml.safe_load(path.read_text())
    content["namespace"] = "models"
    content["images"] = [{"name": "roundhouse", "newName": "our.example.org/r", "newTag": "2.0.0"}]
    content["components"] = ["../../components/ingress"]
    path.write_text(yaml.safe_dump(content))
    objects = render(path.parent)
    assert settings_of(objects)["ROUNDHOUSE_IMAGE"] == "our.example.org/r:2.0.0"
    assert settings_of(objects)["ROUNDHOUSE_NAMESPACE"] == "models"
    assert find(objects, "RoleBinding", "roundhouse-worker")["subjects"][0]["namespace"] == "models"
    # the component comes with an ingress whose services are there
    assert violations(objects, secret_keys("small")) == []
    kubernetes_validate.validate(find(objects, "Ingress", "roundhouse"), VERSIONS[-1], strict=True)


@every_overlay
def test_every_setting_is_one_that_somebody_reads(name: str) -> None:
    given = {*settings_of(overlay(name)), *(k for keys in secret_keys(name).values() for k in keys)}
    known = {f"ROUNDHOUSE_{field.upper()}" for field in Settings.model_fields}
    # of the cluster's own, which are read where it is deployed to
    known |= {"ROUNDHOUSE_IMAGE", "ROUNDHOUSE_NAMESPACE"}
    assert {key for key in given if key.startswith("ROUNDHOUSE_")} <= known
    others = {"PREFECT_API_URL", "PREFECT_UI_URL", "PREFECT_CLIENT_MAX_RETRIES"}
    others |= {"MLFLOW_FLASK_SERVER_SECRET_KEY"}
    others |= {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"}
    others |= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert {key for key in given if not key.startswith("ROUNDHOUSE_")} <= others


@every_overlay
def test_the_settings_are_ones_with_which_the_servers_start(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infra.clusters.processes import command

    folder = MANIFESTS / "overlays" / name
    given = settings_of(overlay(name))
    for file in SECRETS.values():
        given = {**given, **variables(folder / file)}
    for key, value in given.items():
        monkeypatch.setenv(key, re.sub("<.*?>", "ab" * 32, value))
    monkeypatch.setenv("ROUNDHOUSE_HOME", str(tmp_path))
    for process in (Process.PREFECT, Process.PREFECT_SERVICES, Process.MLFLOW):
        values = command(process, Settings())[1]
        assert values["PREFECT_HOME"]
    hosts = values["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    # the name by which runs ask for it
    assert "mlflow:*" in hosts


def test_runs_see_no_address_of_a_database() -> None:
    for name in OVERLAYS:
        keys = secret_keys(name)["roundhouse-secrets"]
        assert not any(word in key for key in keys for word in ("DATABASE", "REDIS", "POSTGRES"))
        worker = find(overlay(name), "Deployment", "worker")
        sources = json.dumps(pod_template(worker)["spec"]["containers"][0]["envFrom"])
        assert "roundhouse-servers" not in sources


@every_overlay
def test_the_worker_may_do_what_it_needs_and_nothing_else(name: str) -> None:
    rules = find(overlay(name), "Role", "roundhouse-worker")["rules"]
    allowed = {
        (group, resource): tuple(sorted(rule["verbs"]))
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert allowed == {place: tuple(sorted(verbs)) for place, verbs in PERMISSIONS.items()}


def test_each_server_runs_a_process_that_there_is() -> None:
    asked = {
        tuple(container.get("args", ()))
        for item in overlay("external")
        if item["kind"] in ("Deployment", "Job", "CronJob")
        for container in containers(pod_template(item)["spec"])
    }
    module = ("python", "-m", "infra.clusters.processes")
    assert asked == {
        *((*module, str(process)) for process in Process),
        ("python", "-m", "infra.clusters.worker"),
    }


def test_the_examples_of_secrets_hold_none() -> None:
    for path in MANIFESTS.rglob("*.example.env"):
        for key, value in variables(path).items():
            assert re.search(r"<\w+>", value) or key == "AWS_ACCESS_KEY_ID", key


def test_the_third_parties_are_those_of_the_compose_file() -> None:
    compose = yaml.safe_load((MANIFESTS.parent / "compose.yaml").read_text())["services"]
    for name in ("postgres", "redis", "store"):
        pod = pod_template(find(overlay("small"), "StatefulSet", name))["spec"]
        assert pod["containers"][0]["image"] == compose[name]["image"]


@pytest.mark.slow
@every_overlay
def test_kustomize_itself_makes_the_same_of_them(name: str) -> None:
    made = subprocess.run(
        [built(), "build", MANIFESTS / "overlays" / name],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert list(yaml.safe_load_all(made)) == overlay(name)


def test_the_readme_has_ten_commands_and_names_what_there_is() -> None:
    text = (MANIFESTS.parent / "README.md").read_text()
    commands = text.split("```sh\n")[1].split("```")[0].strip().splitlines()
    assert len(commands) == 10
    for path in re.findall(r"infra/kubernetes/[\w./-]+", text):
        assert (MANIFESTS.parents[1] / path.rstrip(".")).exists(), path
    objects = overlay("small")
    there = {(item["kind"].lower(), item["metadata"]["name"]) for item in objects}
    named = re.findall(r"\b(deployment|service|job)/([\w-]+)", text)
    assert {("deployment", "prefect"), ("service", "mlflow"), ("job", "migration")} <= set(named)
    assert set(named) <= there
    # the sed of the third command finds what it is to change, in both overlays
    changed = re.search(r"s#(newName: [^#]+)#", commands[2])
    for name in OVERLAYS:
        kustomization = (MANIFESTS / "overlays" / name / "kustomization.yaml").read_text()
        assert len(re.findall(changed[1] if changed else "^$", kustomization)) == 1
    for name in re.findall(r"`(ROUNDHOUSE_\w+)`", text):
        assert name.removeprefix("ROUNDHOUSE_").lower() in Settings.model_fields, name
