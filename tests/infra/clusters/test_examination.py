"""What is looked at in a cluster before anything is deployed to it."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.clusters.delivery import examine_for_doctor
from infra.clusters.examination import examine_cluster
from infra.clusters.nodes import Node, demand_finding
from infra.clusters.profiles import Profile, Profiles, Toleration, load_profiles
from infra.clusters.quantities import parse_quantity
from infra.clusters.requirements import Demand, requirements
from infra.deployment import chosen_blocks
from infra.examinations.findings import Finding
from tasks.settings import Settings
from tests.infra.clusters.stand_in_cluster import (
    CLAIMS,
    NAMESPACE,
    NODES,
    SECRETS,
    SETTINGS,
    StandInCluster,
    node,
    registry,
    served,
)

IMAGE = "127.0.0.1:9/roundhouse:1.2.3"
BLOCK = {
    "name": "trial",
    "entrypoint": "flows.training.train",
    "parameters": {"pipeline": "trial", "ingestion": {"dataset": "xor"}},
    "schedules": [{"slug": "nightly", "cron": "0 2 * * *"}],
    "resources": {"profile": "gpu"},
}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInCluster]:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    cluster = StandInCluster()
    with served(cluster, tmp_path / "kubeconfig"):
        yield cluster


@pytest.fixture
def examine(tmp_path: Path, cluster: StandInCluster) -> Callable[..., list[Finding]]:
    """Looks at the cluster for one pipeline: (**changes of its block) -> findings."""

    def look(image: str = IMAGE, **changes: Any) -> list[Finding]:
        path = tmp_path / "prefect.yaml"
        path.write_text(yaml.safe_dump({"deployments": [{**BLOCK, **changes}]}))
        return examine_for_doctor(Settings(image=image, pipelines=path))

    return look


def said(findings: list[Finding]) -> str:
    return "\n".join(f"{f.what}: {f.fact}; {f.cure}" for f in findings)


def wrong(findings: list[Finding]) -> str:
    return said([finding for finding in findings if not finding.is_well])


def test_a_cluster_that_is_fit_has_nothing_to_mend(examine: Callable[..., list[Finding]]) -> None:
    found = examine()
    assert wrong(found) == ""
    for part in (
        "Kubernetes v1.35.0", "pods are held to 'restricted'", "all that its work needs",
        "the service of http://mlflow:5000 is there", "keys of the bucket",
        "standard is the default",
        "1 could take 4 CPUs, 16Gi and 1 of nvidia.com/gpu, for trial", "was not seen",
    ):  # fmt: skip
        assert part in said(found)


def without(key: str) -> Callable[[StandInCluster], None]:
    return lambda cluster: cluster.objects[SETTINGS]["data"].pop(key)


def setting(key: str, value: str) -> Callable[[StandInCluster], None]:
    return lambda cluster: cluster.objects[SETTINGS]["data"].update({key: value})


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (without("ROUNDHOUSE_STORAGE"), "ROUNDHOUSE_STORAGE is not set, so each pod would keep"),
        (setting("ROUNDHOUSE_STORAGE", "/data"), "is '/data', so each pod .*such as s3://models"),
        (setting("ROUNDHOUSE_IMAGE", "r.example.org/r:0.1"), "servers are of r.example.org/r:0.1"),
        (setting("ROUNDHOUSE_STORAGE", "gs://models"), "reads and writes buckets of S3 alone"),
        (setting("ROUNDHOUSE_ARTIFACTS", "file:///a"), "ROUNDHOUSE_ARTIFACTS is 'file:///a'"),
        (setting("ROUNDHOUSE_TRACKING_URI", "sqlite:///m.db"), "of a pod's own disk"),
        (
            setting("ROUNDHOUSE_PREFECT_API_URL", "http://127.0.0.1:4200/api"),
            "means a pod itself.*such as http://prefect:4200/api",
        ),
        (lambda c: c.objects.pop(f"{NAMESPACE}/services/prefect"), "names the service prefect"),
        (lambda c: c.objects.pop(NAMESPACE), "there is none named roundhouse; kubectl apply"),
        (lambda c: c.objects.pop(SETTINGS), "config map roundhouse-settings: not in roundhouse"),
        (lambda c: c.objects.pop(SECRETS), "secret roundhouse-secrets: not in roundhouse"),
        (
            lambda c: c.objects[SECRETS]["data"].pop("ROUNDHOUSE_PASSWORD"),
            "has no ROUNDHOUSE_PASSWORD, which is needed by runs",
        ),
        (
            lambda c: c.objects[SECRETS]["data"].pop("AWS_ACCESS_KEY_ID"),
            "has AWS_SECRET_ACCESS_KEY and no AWS_ACCESS_KEY_ID",
        ),
        (
            lambda c: c.objects.pop(f"{NAMESPACE}/serviceaccounts/roundhouse-run"),
            "service accounts: roundhouse-run not in roundhouse",
        ),
        (lambda c: c.denied.add(("create", "jobs")), "roundhouse-worker: it may not create jobs"),
        (lambda c: c.objects.update({NODES: {"items": [node()]}}), "no node has nvidia.com/gpu"),
    ],
)  # fmt: skip
def test_what_is_not_fit_is_said_with_what_mends_it(
    cluster: StandInCluster, examine: Callable[..., list[Finding]],
    spoil: Callable[[StandInCluster], object], what: str,
) -> None:  # fmt: skip
    spoil(cluster)
    assert re.search(what, wrong(examine()))


def test_the_secrets_values_are_shown_nowhere(examine: Callable[..., list[Finding]]) -> None:
    assert "planted" not in said(examine())
    assert "cGxhbnRlZA" not in said(examine())


def test_a_gpu_that_nobody_needs_soon_stops_nothing(
    cluster: StandInCluster, examine: Callable[..., list[Finding]]
) -> None:
    cluster.objects[NODES] = {"items": [node()]}
    found = examine(schedules=[{"slug": "nightly", "cron": "0 2 * * *", "active": False}])
    assert wrong(found) == ""
    assert "no node has nvidia.com/gpu; no schedule of theirs is active" in said(found)


def test_claims_find_their_volumes(
    cluster: StandInCluster, examine: Callable[..., list[Finding]]
) -> None:
    claim = {"metadata": {"name": "data"}, "spec": {}, "status": {"phase": "Pending"}}
    cluster.objects[CLAIMS] = {"items": [claim]}
    assert wrong(examine()) == ""
    cluster.objects["/apis/storage.k8s.io/v1/storageclasses"] = {"items": []}
    assert "none is the default, and data name none" in wrong(examine())


def test_a_key_is_asked_for_where_identifiers_are_hashed(
    cluster: StandInCluster, examine: Callable[..., list[Finding]]
) -> None:
    del cluster.objects[SECRETS]["data"]["ROUNDHOUSE_PRIVACY_KEY"]
    assert wrong(examine()) == ""
    hashed = {"pipeline": "trial", "ingestion": {"dataset": "telco_churn"}}
    assert "has no ROUNDHOUSE_PRIVACY_KEY, which is needed by trial" in wrong(
        examine(parameters=hashed)
    )


@pytest.mark.parametrize(
    ("status", "speaks", "well"), [(200, True, True), (404, True, False), (404, False, True)]
)
def test_the_registry_is_asked_where_it_answers(
    cluster: StandInCluster, examine: Callable[..., list[Finding]], tmp_path: Path,
    status: int, speaks: bool, well: bool,
) -> None:  # fmt: skip
    content = yaml.safe_load((tmp_path / "kubeconfig").read_text())
    registry = content["clusters"][0]["cluster"]["server"].removeprefix("http://")
    if speaks:
        cluster.objects["/v2/"] = {}
    if status == 200:
        for tag in ("1.2.3", "1.2.3-gpu"):
            cluster.objects[f"/v2/roundhouse/manifests/{tag}"] = {}
    found = [f for f in examine(f"{registry}/roundhouse:1.2.3") if f.what == "image"]
    assert len(found) == 2
    assert all(finding.is_well is well for finding in found)
    assert ("by another address" in said(found)) is not speaks


def test_an_image_is_not_missed_before_somebody_needs_it(
    cluster: StandInCluster, tmp_path: Path
) -> None:
    content = yaml.safe_load((tmp_path / "kubeconfig").read_text())
    address = content["clusters"][0]["cluster"]["server"].removeprefix("http://")
    cluster.objects |= {"/v2/": {}, "/v2/roundhouse/manifests/1.2.3": {}}
    # the ten commands push no image with CUDA, and the shipped schedules of GPUs are paused
    given = Settings(image=f"{address}/roundhouse:1.2.3")
    found = [f for f in examine_for_doctor(given) if f.what == "image"]
    assert all(finding.is_well for finding in found)
    assert "1.2.3-gpu is not in its registry; no schedule" in said(found)
    wanted = requirements(given, load_profiles(given), chosen_blocks(given), ["mnist-cnn-best"])
    assert "1.2.3-gpu is not in its registry; push it" in wrong(examine_cluster(wanted))


@pytest.mark.parametrize(
    ("password", "login", "well", "what"),
    [
        ("", "", True, "is in its registry"),
        ("right", "right", True, "is in its registry"),
        ("right", "wrong", False, "refuses the login of registry (401)"),
        ("right", "", True, "whether it is there was not seen (its registry answered us 401)"),
    ],
    ids=["open to all", "with a login", "with a wrong one", "with none"],
)
def test_the_registry_is_asked_with_a_token_as_nodes_ask_it(
    cluster: StandInCluster, examine: Callable[..., list[Finding]],
    password: str, login: str, well: bool, what: str,
) -> None:  # fmt: skip
    with registry(password) as address:
        if login:
            pair = base64.b64encode(f"puller:{login}".encode()).decode()
            auths = json.dumps({"auths": {address: {"auth": pair}}}).encode()
            secret = {"data": {".dockerconfigjson": base64.b64encode(auths).decode()}}
            cluster.objects[f"{NAMESPACE}/secrets/registry"] = secret
            account = {"metadata": {}, "imagePullSecrets": [{"name": "registry"}]}
            cluster.objects[f"{NAMESPACE}/serviceaccounts/roundhouse-run"] = account
        (found,) = (
            f for f in examine(f"{address}/roundhouse:1.2.3", resources={}) if f.what == "image"
        )
    assert what in found.fact
    assert found.is_well is well
    assert "wrong" not in found.fact.replace(address, "")


def test_a_secret_of_the_registry_that_is_not_there_is_named(
    cluster: StandInCluster, examine: Callable[..., list[Finding]]
) -> None:
    account = {"metadata": {}, "imagePullSecrets": [{"name": "registry"}]}
    cluster.objects[f"{NAMESPACE}/serviceaccounts/roundhouse-run"] = account
    assert "roundhouse-run pulls with registry, which is not in roundhouse" in wrong(examine())


def test_a_cluster_that_does_not_answer_or_is_not_known_is_said(
    examine: Callable[..., list[Finding]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    content = yaml.safe_load(kubeconfig.read_text())
    content["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:9"
    kubeconfig.write_text(yaml.safe_dump(content))
    assert "no answer from http://127.0.0.1:9" in wrong(examine())
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    assert "No cluster is known" in wrong(examine())


GPU = {"nvidia.com/gpu": "1"}
TAINT = ("nvidia.com/gpu", "", "NoSchedule")
TOLERANT = (Toleration(key="nvidia.com/gpu", operator="Exists"),)


@pytest.mark.parametrize(
    ("profile", "there", "what"),
    [
        (Profile(gpus=1), Node({}, (), {}), "no node has nvidia.com/gpu"),
        (Profile(gpus=2), Node({}, (), {"nvidia.com/gpu": "1"}), "no node has 2 of nvidia.com/gpu"),
        (
            Profile(gpus=1, gpu_type="L4"),
            Node({"nvidia.com/gpu.product": "T4"}, (), GPU),
            "no such node has the labels nvidia.com/gpu.product=L4",
        ),
        (Profile(gpus=1), Node({}, (TAINT,), GPU), "a taint that it does not tolerate"),
        (Profile(gpus=1, tolerations=TOLERANT), Node({}, (TAINT,), GPU), ""),
        (Profile(memory="64Gi"), Node({}, (), {}), "so much memory"),
        (Profile(cpu="16"), Node({}, (), {}), "so many CPUs"),
        (Profile(memory="64Gi", autoscaled=True), Node({}, (), {}), ""),
    ],
)
def test_why_no_node_could_take_it_is_said(profile: Profile, there: Any, what: str) -> None:
    amounts = {"cpu": "8", "memory": "32Gi", **there.room}
    room = {name: parse_quantity(amount) for name, amount in amounts.items()}
    profiles = Profiles(profiles={"mine": profile})
    found = demand_finding(
        Demand("mine", profile, ("digits",), soon=True),
        profiles,
        [Node(there.labels, there.taints, room)],
    )
    assert found.is_well is (not what)
    assert what in found.fact
