"""The overlay `external` as it is applied, run by a node: migrated, served, polled, collected."""

import base64
import json
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.api import Api, eventually
from tests.infra.conftest import object_store, postgres, redis_address  # noqa: F401
from tests.infra.kustomize import MANIFESTS, render

pytestmark = pytest.mark.cluster

NAMESPACE, PASSWORD = "roundhouse-served", "planted-cluster-password"
SECONDS = 180
# what a node would refuse to run here; their parts are played by the fixtures
PLAYED = ("redis",)


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def variable(name: str, setting: str, value: str) -> dict[str, Any]:
    """A patch that gives the one container of a Deployment a variable more."""
    described = {"name": name, "env": [{"name": setting, "value": value}]}
    change = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"containers": [described]}}},
    }
    return {"patch": yaml.safe_dump(change)}


@dataclass
class Served:
    """What was applied, and where it answers."""

    api: Api
    prefect: str
    services: str
    mlflow: str
    worker: str

    def ask(self, address: str, path: str, body: Any = None) -> Any:
        pair = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"{address}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Basic {pair}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def answers(self, address: str, path: str) -> None:
        def asked() -> bool:
            with urllib.request.urlopen(f"{address}{path}", timeout=5) as answer:
                return bool(answer.status == 200)

        eventually(asked, SECONDS, f"{address}{path}")


@pytest.fixture(scope="module")
def served(
    cluster: Any,
    postgres: Callable[[str], str],  # noqa: F811
    redis_address: str,  # noqa: F811
    object_store: dict[str, str],  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    """The overlay on the cluster of the tests, with each server on a port of its own."""
    if not cluster.own:
        pytest.skip("needs a node that reaches the services of this machine")
    copied = tmp_path_factory.mktemp("served") / "kubernetes"
    shutil.copytree(MANIFESTS, copied)
    prefect, services, mlflow, worker = free_ports(4)
    api: Api = cluster.api
    api.create("namespaces", {"metadata": {"name": NAMESPACE}})
    try:
        eventually(lambda: api.read("serviceaccounts", "default", NAMESPACE))
        account = {"metadata": {"name": "roundhouse-worker"}}
        api.create("serviceaccounts", account, NAMESPACE)
        login = cluster.kubeconfig_of("roundhouse-worker", NAMESPACE)
        patches = [
            variable("prefect", "ROUNDHOUSE_PREFECT_PORT", str(prefect)),
            variable("prefect-services", "ROUNDHOUSE_PREFECT_PORT", str(services)),
            variable("mlflow", "ROUNDHOUSE_MLFLOW_PORT", str(mlflow)),
            variable("worker", "PREFECT_WORKER_WEBSERVER_PORT", str(worker)),
            # a node mounts a token instead
            variable("worker", "KUBECONFIG", str(login)),
        ]
        store = dict(object_store)
        settings = {
            "ROUNDHOUSE_STORAGE": "s3://models/storage",
            "ROUNDHOUSE_ARTIFACTS": "s3://models/artifacts",
            "ROUNDHOUSE_PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api",
            "PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api",
            "ROUNDHOUSE_TRACKING_URI": f"http://127.0.0.1:{mlflow}",
            "AWS_ENDPOINT_URL": store["AWS_ENDPOINT_URL"],
            "AWS_DEFAULT_REGION": store["AWS_DEFAULT_REGION"],
        }
        secrets = {
            "roundhouse-secrets": {
                "ROUNDHOUSE_PASSWORD": PASSWORD,
                "AWS_ACCESS_KEY_ID": store["AWS_ACCESS_KEY_ID"],
                "AWS_SECRET_ACCESS_KEY": store["AWS_SECRET_ACCESS_KEY"],
            },
            "roundhouse-servers": {
                "ROUNDHOUSE_PREFECT_DATABASE": postgres("served-prefect"),
                "ROUNDHOUSE_MLFLOW_DATABASE": postgres("served-mlflow"),
                "ROUNDHOUSE_REDIS": redis_address,
                "REDIS_PASSWORD": "planted-redis-password",
                "MLFLOW_FLASK_SERVER_SECRET_KEY": "planted-session-key",
            },
        }
        for name, content in secrets.items():
            body = {"metadata": {"name": name}, "stringData": content}
            api.create("secrets", body, NAMESPACE)
        for item in own_overlay(copied, cluster.image, patches, settings):
            api.apply(item)
        places = [f"http://127.0.0.1:{port}" for port in (prefect, services, mlflow, worker)]
        yield Served(api, *places)
    finally:
        api.delete("namespaces", NAMESPACE)
        eventually(lambda: not api.find("pods", NAMESPACE), SECONDS, "the end of every pod")


def own_overlay(
    copied: Path, image: str, patches: list[Any], settings: dict[str, str]
) -> list[dict[str, Any]]:
    folder = copied / "overlays" / "external"
    path = folder / "kustomization.yaml"
    content = yaml.safe_load(path.read_text())
    name, _, tag = image.rpartition(":")
    content["namespace"] = NAMESPACE
    content["images"] = [{"name": "roundhouse", "newName": name, "newTag": tag}]
    # two of one server would want one port, where all pods have the same address
    content["replicas"] = [{"name": name, "count": 1} for name in ("prefect", "mlflow")]
    content["patches"] = patches
    path.write_text(yaml.safe_dump(content))
    lines = [f"{key}={value}\n" for key, value in settings.items()]
    (folder / "settings.env").write_text("".join(lines))
    return [item for item in render(folder) if item["metadata"]["name"] not in PLAYED]


def ended(api: Api, job: str) -> str:
    def look() -> str:
        conditions = api.read("jobs", job, NAMESPACE)["status"].get("conditions", [])
        kinds = [c["type"] for c in conditions if c["status"] == "True"]
        return next((kind for kind in kinds if kind in ("Complete", "Failed")), "")

    return eventually(look, SECONDS, f"the end of {job}")


def log(api: Api, labels: str) -> str:
    pod = api.find("pods", NAMESPACE, labels)[0]["metadata"]["name"]
    return str(api.ask("GET", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log"))


def test_every_server_comes_up_by_itself(served: Served) -> None:
    assert ended(served.api, "migration") == "Complete"
    served.answers(served.prefect, "/api/ready")
    served.answers(served.services, "/health")
    served.answers(served.mlflow, "/health")
    served.answers(served.worker, "/health")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{served.prefect}/api/admin/version", timeout=10)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{served.mlflow}/api/2.0/mlflow/experiments/search", timeout=10)


def test_the_worker_takes_runs_of_the_pool_once_it_is_there(served: Served) -> None:
    served.answers(served.prefect, "/api/ready")
    pool = {"name": "kubernetes", "type": "kubernetes", "base_job_template": {}}
    served.ask(served.prefect, "/api/work_pools/", pool)

    def polling() -> bool:
        found = served.ask(served.prefect, "/api/work_pools/kubernetes/workers/filter", {})
        return any(worker["status"] == "ONLINE" for worker in found)

    eventually(polling, SECONDS, "a worker that polls")
    served.answers(served.worker, "/health")


def test_retention_runs_as_its_cron_job_says(served: Served) -> None:
    ended(served.api, "migration")
    described = served.api.read("cronjobs", "retention", NAMESPACE)["spec"]["jobTemplate"]
    body = {"metadata": {"name": "retention-now"}, "spec": described["spec"]}
    served.api.create("jobs", body, NAMESPACE)
    assert ended(served.api, "retention-now") == "Complete"
    assert "What was deleted more than 90 days ago is gone." in log(
        served.api, "job-name=retention-now"
    )


def test_they_stay_up_within_their_limits_and_say_no_secret(served: Served) -> None:
    served.answers(served.mlflow, "/health")
    time.sleep(5)
    for name in ("prefect", "prefect-services", "mlflow", "worker"):
        labels = f"app.kubernetes.io/name={name}"
        pod = served.api.find("pods", NAMESPACE, labels)[0]
        assert [c["restartCount"] for c in pod["status"]["containerStatuses"]] == [0], name
        said = log(served.api, labels)
        assert not re.search("planted|Traceback", said), said
