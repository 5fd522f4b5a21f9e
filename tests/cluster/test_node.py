"""The node of the tests: what it runs ends as on a node that is real."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.api import Api, eventually

pytestmark = pytest.mark.cluster
NO_RETRY = {"backoffLimit": 0}


def job(image: str, code: str, container: Any = None, spec: Any = None, pod: Any = None) -> Any:
    """A Job that runs a few lines of Python once."""
    described = {
        "name": "main",
        "image": image,
        "command": ["python", "-c", code],
        **(container or {}),
    }
    return {
        "metadata": {"generateName": "trial-"},
        "spec": {
            "backoffLimit": 0,
            **(spec or {}),
            "template": {
                "spec": {"restartPolicy": "Never", "containers": [described], **(pod or {})}
            },
        },
    }


@pytest.fixture
def start(cluster: Any, namespace: str) -> Callable[..., str]:
    """Starts a Job: (code, container, spec, pod) -> its name."""

    def begin(code: str, **described: Any) -> str:
        body = job(described.pop("image", cluster.image), code, **described)
        return str(cluster.api.create("jobs", body, namespace)["metadata"]["name"])

    return begin


def pod_of(api: Api, name: str, namespace: str, phase: str = "") -> Any:
    """The pod of a Job, once it is in a phase."""

    def look() -> Any:
        pods = api.find("pods", namespace, f"job-name={name}")
        return next((p for p in pods if not phase or p["status"]["phase"] == phase), None)

    return eventually(look, what=f"a pod of {name} that is {phase or 'there'}")


def end_of(api: Api, name: str, namespace: str) -> tuple[str, str]:
    """How a Job ended, and the reason."""

    def look() -> Any:
        conditions = api.read("jobs", name, namespace)["status"].get("conditions", [])
        found = {c["type"]: c.get("reason", "") for c in conditions if c["status"] == "True"}
        return [(kind, found[kind]) for kind in ("Complete", "Failed") if kind in found]

    return eventually(look, what=f"the end of {name}")[0]


def output_of(api: Api, pod: Any) -> str:
    metadata = pod["metadata"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/log"
    return str(api.ask("GET", path))


def ended(pod: Any) -> Any:
    return pod["status"]["containerStatuses"][0]["state"]["terminated"]


def test_a_job_runs_with_its_settings_and_secrets(
    cluster: Any, namespace: str, start: Callable[..., str]
) -> None:
    cluster.api.create("configmaps", {"metadata": {"name": "c"}, "data": {"A": "one"}}, namespace)
    secret = {"metadata": {"name": "s"}, "stringData": {"B": "two", "C": "three"}}
    cluster.api.create("secrets", secret, namespace)
    field = {"fieldRef": {"fieldPath": "metadata.namespace"}}
    name = start(
        "import os; print(*(os.environ[n] for n in 'ABDE'), os.environ.get('F'))",
        container={
            "envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}],
            "env": [{"name": "D", "valueFrom": field}, {"name": "E", "value": "$(A)-$(C)"}],
        },
    )
    assert end_of(cluster.api, name, namespace)[0] == "Complete"
    pod = pod_of(cluster.api, name, namespace, "Succeeded")
    assert output_of(cluster.api, pod) == f"one two {namespace} one-three None\n"


def test_a_command_that_fails_fails_its_job(
    cluster: Any, namespace: str, start: Callable[..., str]
) -> None:
    name = start("import sys; print('trouble'); sys.exit(3)")
    assert end_of(cluster.api, name, namespace) == ("Failed", "BackoffLimitExceeded")
    pod = pod_of(cluster.api, name, namespace, "Failed")
    assert (ended(pod)["exitCode"], ended(pod)["reason"]) == (3, "Error")
    assert output_of(cluster.api, pod) == "trouble\n"


def test_more_memory_than_the_limit_is_killed_as_out_of_memory(
    cluster: Any, namespace: str, start: Callable[..., str]
) -> None:
    limits = {"resources": {"limits": {"memory": "200Mi"}}}
    name = start("held = b'1' * 400_000_000; import time; time.sleep(60)", container=limits)
    assert end_of(cluster.api, name, namespace)[0] == "Failed"
    pod = pod_of(cluster.api, name, namespace, "Failed")
    assert (ended(pod)["exitCode"], ended(pod)["reason"]) == (137, "OOMKilled")


def test_an_image_that_is_missing_keeps_the_pod_waiting(
    cluster: Any, namespace: str, start: Callable[..., str]
) -> None:
    name = start("print()", image="registry.example.org/missing:1.0.0")

    def waiting() -> bool:
        statuses = pod_of(cluster.api, name, namespace)["status"].get("containerStatuses", [])
        return [s["state"]["waiting"]["reason"] for s in statuses] == ["ImagePullBackOff"]

    eventually(waiting)
    told = [event["message"] for event in cluster.api.find("events", namespace)]
    assert any("Failed to pull image" in message for message in told)


def test_a_job_over_its_deadline_is_ended(
    cluster: Any, namespace: str, start: Callable[..., str]
) -> None:
    name = start("import time; time.sleep(600)", spec={"activeDeadlineSeconds": 3})
    assert end_of(cluster.api, name, namespace) == ("Failed", "DeadlineExceeded")
    eventually(lambda: not cluster.api.find("pods", namespace, f"job-name={name}"))


def test_a_deleted_pod_may_end_by_itself_and_is_killed_after_its_grace(
    cluster: Any, namespace: str, start: Callable[..., str]
) -> None:
    name = start(
        "import signal, time; signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True));"
        "print('ready', flush=True); [time.sleep(1) for _ in range(600)]",
        pod={"terminationGracePeriodSeconds": 3},
    )
    pod = pod_of(cluster.api, name, namespace, "Running")
    eventually(lambda: "ready" in output_of(cluster.api, pod))
    cluster.api.delete("pods", pod["metadata"]["name"], namespace)
    eventually(lambda: "asked" in output_of(cluster.api, pod))
    assert end_of(cluster.api, name, namespace)[0] == "Failed"
    eventually(lambda: not cluster.api.find("pods", namespace, f"job-name={name}"))


def test_a_pod_that_asks_for_a_gpu_waits_for_a_node_that_has_one(
    cluster: Any, namespace: str, start: Callable[..., str], node_with: Callable[..., Any]
) -> None:
    name = start(
        "print('found')",
        container={"resources": {"limits": {"nvidia.com/gpu": "1"}}},
        pod={"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]},
    )
    pod_of(cluster.api, name, namespace, "Pending")
    eventually(
        lambda: [
            event
            for event in cluster.api.find("events", namespace)
            if event["reason"] == "FailedScheduling"
            and "Insufficient nvidia.com/gpu" in event["message"]
        ]
    )
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    node = node_with(taints=[taint], capacity={"nvidia.com/gpu": "1"})
    assert end_of(cluster.api, name, namespace)[0] == "Complete"
    assert pod_of(cluster.api, name, namespace)["spec"]["nodeName"] == node.name


def test_an_evicted_pod_fails_its_job_and_one_of_a_lost_node_is_given_up(
    cluster: Any, namespace: str, start: Callable[..., str], node_with: Callable[..., Any]
) -> None:
    node = node_with(labels={"kind": "spot"})
    spot = {"nodeSelector": {"kind": "spot"}, "terminationGracePeriodSeconds": 2}
    sleeping = "import time; time.sleep(600)"
    evicted = start(sleeping, pod=spot)
    node.evict(pod_of(cluster.api, evicted, namespace, "Running")["metadata"]["name"])
    pod = pod_of(cluster.api, evicted, namespace, "Failed")
    assert pod["status"]["reason"] == "Evicted"
    assert end_of(cluster.api, evicted, namespace)[0] == "Failed"
    lost = start(sleeping, pod=spot)
    pod_of(cluster.api, lost, namespace, "Running")
    node.lose()

    # it has failed once the pod is gone, which waits until somebody deletes the node
    def given_up() -> bool:
        conditions = cluster.api.read("jobs", lost, namespace)["status"].get("conditions", [])
        return "FailureTarget" in {condition["type"] for condition in conditions}

    eventually(given_up)
    assert "deletionTimestamp" in pod_of(cluster.api, lost, namespace, "Running")["metadata"]
