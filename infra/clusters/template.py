"""The job template of a work pool on Kubernetes: what the Job of a run is.

No pod failure policy and no retries by Kubernetes: with a backoff limit of 0 Prefect schedules the
run of an evicted pod again, and a second pod for the same run would only be in its way.
"""

from typing import Any

from infra.clusters.profiles import USUAL, Profiles, Share, job_variables
from infra.clusters.variables import LOGIN, form
from tasks.devices import MEMORY_GROWTH
from tasks.settings import Settings

CONTAINER = "prefect-job"
USER = 10001
HOME = "/home/roundhouse"
# how long the pod may wait for a node, for whoever watches the Job
START_WITHIN = "roundhouse/start-within-seconds"
# nothing moves a run to another node to save one
STAYS = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}


def base_job_template(settings: Settings, profiles: Profiles) -> dict[str, Any]:
    """The base job template of a work pool, as Prefect keeps it.

    Args:
        settings: Name the image and the namespace.
        profiles: Say what a Job is given whose deployment asks for nothing.

    Raises:
        ConfigError: No image is named, or it cannot be used.
    """
    usual = profiles.profile(Share(profile=USUAL), "the work pool")
    defaults = {
        "image": settings.image,
        "namespace": settings.namespace,
        **job_variables(usual, settings),
    }
    properties = form()
    for name, value in defaults.items():
        properties[name] = {**properties[name], "default": value}
    return {
        "variables": {"type": "object", "properties": properties},
        "job_configuration": {
            "command": "{{ command }}",
            # Prefect adds the variable `env` to it; in the form it could be taken away
            "env": {**LOGIN, **MEMORY_GROWTH},
            "labels": {"app.kubernetes.io/part-of": "roundhouse"},
            "annotations": "{{ annotations }}",
            "name": "{{ name }}",
            "namespace": "{{ namespace }}",
            "pod_watch_timeout_seconds": "{{ pod_watch_timeout_seconds }}",
            "job_manifest": _job(profiles),
        },
    }


def _job(profiles: Profiles) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            # text beside a variable makes text of a number
            "annotations": {START_WITHIN: "{{ pod_watch_timeout_seconds }} s", **STAYS},
            "labels": "{{ labels }}",
            "namespace": "{{ namespace }}",
            "generateName": "{{ name }}-",
        },
        "spec": {
            "backoffLimit": 0,
            # our worker arranges for several: infra/clusters/several_nodes.py
            "completions": "{{ nodes }}",
            "parallelism": "{{ nodes }}",
            "activeDeadlineSeconds": "{{ active_deadline_seconds }}",
            "ttlSecondsAfterFinished": "{{ ttl_seconds_after_finished }}",
            "template": {"metadata": {"labels": "{{ labels }}"}, "spec": _pod(profiles)},
        },
    }


def _pod(profiles: Profiles) -> dict[str, Any]:
    requirements = [{"matchExpressions": "{{ node_requirements }}"}]
    affinity = {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": requirements}
    }
    return {
        # Prefect demands both here, where the cluster has no use for them
        "parallelism": 1,
        "completions": 1,
        "restartPolicy": "Never",
        "serviceAccountName": "{{ service_account_name }}",
        "automountServiceAccountToken": False,
        # a service named prefect would set PREFECT_PORT=tcp://..., which Prefect reads as a setting
        "enableServiceLinks": False,
        "imagePullSecrets": "{{ image_pull_secrets }}",
        "priorityClassName": "{{ priority_class_name }}",
        "runtimeClassName": "{{ runtime_class_name }}",
        "terminationGracePeriodSeconds": "{{ grace_period_seconds }}",
        "nodeSelector": {profiles.accelerator.type_label: "{{ gpu_type }}"},
        "affinity": {"nodeAffinity": affinity},
        "tolerations": "{{ tolerations }}",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_run(profiles)],
        "volumes": [
            {"name": "home", "emptyDir": {"sizeLimit": "{{ temporary_size }}"}},
            {"name": "temporary", "emptyDir": {"sizeLimit": "{{ temporary_size }}"}},
            {
                "name": "shared-memory",
                "emptyDir": {"medium": "Memory", "sizeLimit": "{{ shared_memory }}"},
            },
            "{{ work_volume }}",
        ],
    }


def _run(profiles: Profiles) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": "{{ image }}",
        "imagePullPolicy": "{{ image_pull_policy }}",
        "args": "{{ command }}",
        "env": "{{ env }}",
        "envFrom": "{{ env_from }}",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {
            "requests": {"cpu": "{{ cpu_request }}", "memory": "{{ memory_request }}"},
            "limits": {
                "cpu": "{{ cpu_limit }}",
                "memory": "{{ memory_limit }}",
                profiles.accelerator.resource: "{{ gpus }}",
            },
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "home", "mountPath": HOME},
            {"name": "work", "mountPath": f"{HOME}/.roundhouse"},
            {"name": "temporary", "mountPath": "/tmp"},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
        ],
    }
