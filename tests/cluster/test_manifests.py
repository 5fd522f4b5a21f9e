"""The manifests on a real API server: admitted, and no right too few or too many."""

import copy
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.clusters.worker import PERMISSIONS
from tests.cluster.api import Api, RefusedError, eventually
from tests.infra.kustomize import MANIFESTS, render
from tests.infra.manifest_policy import WORKLOADS, pod_template

pytestmark = pytest.mark.cluster

ROOT = MANIFESTS.parents[1]
STRICT = {"fieldManager": "tests", "force": "true", "fieldValidation": "Strict"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
RESOURCES = (
    ("", "pods"), ("", "pods/log"), ("", "pods/exec"), ("", "secrets"), ("", "configmaps"),
    ("", "events"), ("", "serviceaccounts/token"), ("", "services"), ("batch", "jobs"),
    ("batch", "cronjobs"), ("apps", "deployments"), ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"), ("networking.k8s.io", "networkpolicies"),
)  # fmt: skip
PLURALS = {"NetworkPolicy": "networkpolicies"}


def rendered(folder: Path, overlay: str, namespace: str, image: str) -> list[dict[str, Any]]:
    """An overlay as a team has it: with its own image and namespace."""
    copied = folder / "kubernetes"
    shutil.copytree(MANIFESTS, copied)
    path = copied / "overlays" / overlay / "kustomization.yaml"
    content = yaml.safe_load(path.read_text())
    name, _, tag = image.rpartition(":")
    content["namespace"] = namespace
    content["images"] = [{"name": "roundhouse", "newName": name, "newTag": tag}]
    path.write_text(yaml.safe_dump(content))
    return render(path.parent)


def apply(api: Api, item: Any, **options: str) -> Any:
    version, metadata = item["apiVersion"], item["metadata"]
    root = f"/api/{version}" if version == "v1" else f"/apis/{version}"
    if item["kind"] != "Namespace":
        root += f"/namespaces/{metadata['namespace']}"
    plural = PLURALS.get(item["kind"], f"{item['kind'].lower()}s")
    path = f"{root}/{plural}/{metadata['name']}"
    return api.ask("PATCH", path, item, headers=APPLY, **STRICT, **options)


@pytest.fixture(scope="module", params=["small", "external"])
def objects(
    request: pytest.FixtureRequest, cluster: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[dict[str, Any]]]:
    """An overlay in a namespace of its own; what would run there is validated and not kept."""
    namespace = f"roundhouse-{request.param}-manifests"
    found = rendered(tmp_path_factory.mktemp("rendered"), request.param, namespace, cluster.image)
    try:
        for item in found:
            if item["kind"] == "Namespace":
                apply(cluster.api, item)
        eventually(lambda: cluster.api.read("serviceaccounts", "default", namespace))
        for item in found:
            if item["kind"] not in (*WORKLOADS, "Namespace"):
                apply(cluster.api, item)
        yield found
    finally:
        cluster.api.delete("namespaces", namespace)


def namespace_of(objects: list[dict[str, Any]]) -> str:
    return str(next(i["metadata"]["name"] for i in objects if i["kind"] == "Namespace"))


def test_the_server_takes_every_object(cluster: Any, objects: list[dict[str, Any]]) -> None:
    for item in objects:
        made = apply(cluster.api, item, dryRun="All")
        assert made["kind"] == item["kind"]
    unknown = copy.deepcopy(next(i for i in objects if i["kind"] == "Deployment"))
    unknown["spec"]["template"]["spec"]["tolerance"] = []
    with pytest.raises(RefusedError, match="tolerance"):
        apply(cluster.api, unknown, dryRun="All")


def test_restricted_pod_security_admits_every_pod(
    cluster: Any, objects: list[dict[str, Any]]
) -> None:
    namespace = namespace_of(objects)
    place = f"/api/v1/namespaces/{namespace}/pods"
    pods = 0
    for item in objects:
        if item["kind"] not in WORKLOADS:
            continue
        pod = copy.deepcopy(pod_template(item))
        pod["metadata"]["generateName"] = "trial-"
        # a StatefulSet adds the volumes of its claims
        for claim in item["spec"].get("volumeClaimTemplates", ()):
            name = claim["metadata"]["name"]
            volume = {"name": name, "persistentVolumeClaim": {"claimName": name}}
            pod["spec"].setdefault("volumes", []).append(volume)
        cluster.api.ask("POST", place, pod, dryRun="All")
        pods += 1
    assert pods >= 7
    pod["spec"]["securityContext"]["runAsNonRoot"] = False
    with pytest.raises(RefusedError, match='violates PodSecurity "restricted'):
        cluster.api.ask("POST", place, pod, dryRun="All")


def may(api: Api, namespace: str, group: str, resource: str, verb: str) -> bool:
    kind, _, part = resource.partition("/")
    asked = {"namespace": namespace, "group": group, "resource": kind, "verb": verb}
    answer = api.ask(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {"spec": {"resourceAttributes": {**asked, "subresource": part}}},
    )
    return bool(answer["status"]["allowed"])


@pytest.fixture
def as_account(cluster: Any, objects: list[dict[str, Any]]) -> Iterator[Any]:
    """The API as a service account of the namespace: (name) -> Api."""
    opened = []

    def sign_in(name: str) -> Api:
        opened.append(Api(cluster.kubeconfig_of(name, namespace_of(objects))))
        return opened[-1]

    yield sign_in
    for api in opened:
        api.close()


def test_the_worker_may_do_exactly_what_it_needs(
    objects: list[dict[str, Any]], as_account: Any
) -> None:
    worker, namespace = as_account("roundhouse-worker"), namespace_of(objects)
    allowed = {
        (group, resource): {v for v in VERBS if may(worker, namespace, group, resource, v)}
        for group, resource in RESOURCES
    }
    wanted = {place: set(verbs) for place, verbs in PERMISSIONS.items()}
    assert {place: verbs for place, verbs in allowed.items() if verbs} == wanted
    assert not any(may(worker, "default", *place, v) for place in PERMISSIONS for v in VERBS)
    assert not may(worker, "", "", "nodes", "list")


@pytest.mark.parametrize("account", ["roundhouse-run", "roundhouse-server"])
def test_runs_and_servers_may_do_nothing(
    objects: list[dict[str, Any]], as_account: Any, account: str
) -> None:
    api, namespace = as_account(account), namespace_of(objects)
    assert not any(may(api, namespace, *place, v) for place in RESOURCES for v in VERBS)


def test_the_commands_of_the_readme_do_what_it_says(cluster: Any, tmp_path: Path) -> None:
    if not cluster.own or shutil.which("kubectl") is None:
        pytest.skip("needs kubectl, and a cluster of its own: it makes the namespace roundhouse")
    block = (ROOT / "infra" / "README.md").read_text().split("```sh\n")[1].split("```")[0]
    commands = block.strip().splitlines()
    assert len(commands) == 10
    shutil.copytree(MANIFESTS, tmp_path / "infra" / "kubernetes")
    # without the image's own, and what needs its servers; nothing is started
    chosen = [commands[0], *commands[2:6], f"{commands[6]} --dry-run=server -o yaml"]
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join(chosen)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "KUBECONFIG": str(cluster.kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        assert done.returncode == 0, done.stderr
        assert "registry.example.org/roundhouse:1.0.0" in done.stdout
        for name, file in (("secrets", "runs"), ("servers", "servers")):
            secret = cluster.api.read("secrets", f"roundhouse-{name}", "roundhouse")
            example = (MANIFESTS / "overlays" / "small" / f"{file}.example.env").read_text()
            assert set(secret["data"]) == set(re.findall(r"^(\w+)=", example, re.MULTILINE))
    finally:
        cluster.api.delete("namespaces", "roundhouse")
