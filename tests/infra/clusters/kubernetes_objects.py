"""Jobs, pods and events as the API of a cluster gives them, in JSON."""

from datetime import UTC, datetime, timedelta
from typing import Any

NAMESPACE, JOB = "roundhouse", "brave-otter-x7f2k"


def ago(seconds: float = 0) -> str:
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def job(
    *conditions: dict[str, Any],
    run: str = "r",
    uid: str = "j1",
    seconds: float = 30,
    **metadata: Any,
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"{JOB}-{uid}", "namespace": NAMESPACE, "uid": uid,
            "creationTimestamp": ago(seconds), "labels": {"prefect.io/flow-run-id": run},
            **metadata,
        },
        "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 86400},
        "status": {"conditions": list(conditions)},
    }  # fmt: skip


def failed(reason: str = "BackoffLimitExceeded", seconds: float = 0) -> dict[str, Any]:
    return {
        "type": "Failed", "status": "True", "reason": reason, "lastTransitionTime": ago(seconds),
        "message": "Job has reached the specified backoff limit",
    }  # fmt: skip


def pod(
    phase: str = "Running",
    *,
    state: dict[str, Any] | None = None,
    conditions: tuple[dict[str, Any], ...] = (),
    job_uid: str = "j1",
    **status: Any,
) -> dict[str, Any]:
    """A pod of one container, on a node, with limits; `metadata` among `status` is added to its."""
    more = status.pop("metadata", {})
    container = {
        "name": "prefect-job",
        "image": "registry.example.org/roundhouse:1.2.3",
        "state": state or {"running": {"startedAt": ago(20)}},
        "restartCount": 0,
    }
    return {
        "metadata": {
            "name": f"{JOB}-pod", "namespace": NAMESPACE, "uid": f"pod-of-{job_uid}",
            "creationTimestamp": ago(30), "ownerReferences": [{"kind": "Job", "uid": job_uid}],
            **more,
        },
        "spec": {
            "nodeName": "gpu-node-2", "nodeSelector": {"accelerator": "nvidia-l4"},
            "containers": [{
                "name": "prefect-job", "image": "registry.example.org/roundhouse:1.2.3",
                "resources": {
                    "limits": {"memory": "8Gi", "nvidia.com/gpu": "2"},
                    "requests": {"memory": "4Gi", "cpu": "500m"},
                },
            }],
        },
        "status": {
            "phase": phase,
            "conditions": [{"type": "PodScheduled", "status": "True",
                            "lastTransitionTime": ago(30)}, *conditions],
            "containerStatuses": [container],
            **status,
        },
    }  # fmt: skip


def unschedulable(message: str) -> dict[str, Any]:
    made = pod("Pending", containerStatuses=[])
    del made["spec"]["nodeName"]
    made["status"]["conditions"] = [{"type": "PodScheduled", "status": "False",
                                     "reason": "Unschedulable", "message": message}]  # fmt: skip
    return made


def terminated(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": ago()}}


def waiting(reason: str, message: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def disrupted(reason: str) -> tuple[dict[str, Any], ...]:
    return ({"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "..."},)


def event(reason: str, message: str, uid: str = "pod-of-j1") -> dict[str, Any]:
    return {"reason": reason, "message": message, "involvedObject": {"uid": uid},
            "lastTimestamp": ago()}  # fmt: skip
