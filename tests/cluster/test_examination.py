"""What is looked at before anything is deployed, on a real API with the rights of our manifests."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.clusters.delivery import examine_for_doctor
from infra.examinations.findings import Finding
from tasks.settings import Settings
from tests.cluster.api import eventually
from tests.cluster.pod_environment import ROOT

ACCOUNTS = ROOT / "infra" / "kubernetes" / "base" / "accounts.yaml"
PLACES = {
    "ROUNDHOUSE_PREFECT_API_URL": "http://prefect.example.org/api",
    "ROUNDHOUSE_TRACKING_URI": "https://mlflow.example.org",
    "ROUNDHOUSE_STORAGE": "s3://models/storage",
    "ROUNDHOUSE_ARTIFACTS": "s3://models/artifacts",
    "ROUNDHOUSE_USER": "admin",
}
BLOCK = {
    "name": "trial",
    "entrypoint": "flows.training.train",
    "parameters": {"pipeline": "trial", "ingestion": {"dataset": "xor"}},
    "schedules": [{"slug": "nightly", "cron": "0 2 * * *"}],
}
PROFILES = {
    "accelerator": {"resource": "example.com/gpu"},
    "profiles": {
        "cpu": {"cpu": "100m", "memory": "128Mi"},
        "gpu": {"cpu": "100m", "memory": "128Mi", "gpus": 1},
    },
}

pytestmark = pytest.mark.cluster


@pytest.fixture
def examine(
    cluster: Any, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[Finding]]:
    """Looks at the namespace as its administrator: (kubeconfig, **changes of the block)."""
    (tmp_path / "kubernetes").mkdir()
    (tmp_path / "kubernetes" / "profiles.yaml").write_text(yaml.safe_dump(PROFILES))
    settings = Settings(
        image="127.0.0.1:9/roundhouse:1.2.3",
        namespace=namespace,
        pipelines=tmp_path / "prefect.yaml",
    )

    def look(kubeconfig: Path | None = None, **changes: Any) -> list[Finding]:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig or cluster.kubeconfig))
        settings.pipelines.write_text(yaml.safe_dump({"deployments": [{**BLOCK, **changes}]}))
        return examine_for_doctor(settings)

    return look


@pytest.fixture
def fitted(cluster: Any, namespace: str) -> Iterator[Any]:
    """The namespace with our accounts and roles, and what the pods of runs read."""
    for item in yaml.safe_load_all(ACCOUNTS.read_text()):
        for subject in item.get("subjects", []):
            subject["namespace"] = namespace
        cluster.api.apply(item, namespace)
    settings = {"metadata": {"name": "roundhouse-settings"}, "data": PLACES}
    cluster.api.create("configmaps", settings, namespace)
    passwords = {"ROUNDHOUSE_PASSWORD": "planted-cluster-password"}
    secret = {"metadata": {"name": "roundhouse-secrets"}, "stringData": passwords}
    cluster.api.create("secrets", secret, namespace)
    return cluster


def said(findings: list[Finding], *, well: bool) -> str:
    return "\n".join(f"{f.what}: {f.fact}; {f.cure}" for f in findings if f.is_well is well)


def test_our_manifests_leave_nothing_to_mend(
    fitted: Any, examine: Callable[..., list[Finding]]
) -> None:
    found = examine()
    assert said(found, well=False) == ""
    assert "permissions of roundhouse-worker: all that its work needs" in said(found, well=True)
    assert "planted" not in said(found, well=True)


def test_a_role_that_lacks_a_verb_is_found(
    fitted: Any, examine: Callable[..., list[Finding]], namespace: str
) -> None:
    place = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/roundhouse-worker"
    role = fitted.api.ask("GET", place)
    for rule in role["rules"]:
        rule["verbs"] = [verb for verb in rule["verbs"] if verb != "delete"]
    fitted.api.ask("PUT", place, role)
    assert "it may not delete jobs" in said(examine(), well=False)


def test_whoever_may_not_look_is_told_what_was_not_looked_at(
    fitted: Any, examine: Callable[..., list[Finding]], namespace: str
) -> None:
    found = examine(fitted.kubeconfig_of("roundhouse-run", namespace))
    # a service account without a role may not even see its namespace
    assert said(found, well=False) == ""
    assert "we may not get configmaps" in said(found, well=True)
    assert "secrets: not looked at" in said(found, well=True)
    assert "nodes: not looked at" in said(found, well=True)


def test_a_secret_and_a_key_that_are_missing_are_found(
    fitted: Any, examine: Callable[..., list[Finding]], namespace: str
) -> None:
    fitted.api.delete("secrets", "roundhouse-secrets", namespace)
    assert "secret roundhouse-secrets: not in" in said(examine(), well=False)
    secret = {"metadata": {"name": "roundhouse-secrets"}, "stringData": {"OTHER": "x"}}
    fitted.api.create("secrets", secret, namespace)
    assert "has no ROUNDHOUSE_PASSWORD" in said(examine(), well=False)


def test_a_gpu_is_found_where_there_is_one(
    fitted: Any, examine: Callable[..., list[Finding]], node_with: Callable[..., Any]
) -> None:
    asking = {"resources": {"profile": "gpu"}}
    assert "no node has example.com/gpu" in said(examine(**asking), well=False)
    node_with(f"gpu-{uuid.uuid4().hex[:6]}", capacity={"example.com/gpu": "1"})
    # a new node is not ready at first, and has a taint that says so
    eventually(lambda: said(examine(**asking), well=False) == "", what="a node with a GPU")
