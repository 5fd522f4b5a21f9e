"""A training over several nodes: what a pipeline must be for it, and what it makes of a Job.

The pods of an Indexed Job are numbered, and find the first by its name in the headless service
`training` (infra/kubernetes/base/training.yaml). Kubernetes starts none of them again: where one is
lost the Job fails as a whole, and the run goes on in another from the last checkpoint.
"""

from collections.abc import Mapping
from typing import Any

from infra.clusters.profiles import Resources, load_profiles
from tasks.config import PipelineConfig
from tasks.errors import ConfigError
from tasks.models import is_estimator
from tasks.nodes import COORDINATOR, COUNT, JOB_ID
from tasks.settings import Settings

SERVICE, PORT = "training", 8476
# the label by which the service knows them
LABEL = ("app.kubernetes.io/component", SERVICE)
ENTRY = ("python", "-m", "infra.clusters.training_node")
JOB_NAME = "ROUNDHOUSE_TRAINING_JOB_NAME"
BACKEND = "KERAS_BACKEND"
RUN_LABEL = "prefect.io/flow-run-id"


def require_for_nodes(
    name: str,
    resources: Resources | None,
    config: PipelineConfig,
    environment: Mapping[str, object],
    settings: Settings,
) -> None:
    """Makes sure that a pipeline that asks for several nodes can be trained on them.

    Args:
        name: Of the block.
        resources: What it asks for.
        config: What it trains, and how.
        environment: What it gives its runs as environment.
        settings: Name the file of profiles, which say how many GPUs a node gives.

    Raises:
        ConfigError: It trains no network, its batches cannot be divided, it wants another backend
            than JAX, or there is no such profile.
    """
    share = resources.training if resources else None
    if share is None or share.nodes == 1:
        return
    asked = f"The resources of {name} ask for {share.nodes} nodes for its training"
    if is_estimator(config.model.architecture):
        raise ConfigError(
            f"{asked}, and {config.model.architecture!r} is no network; expected one, as only "
            "these are trained over several nodes. Leave `nodes` out."
        )
    profile = load_profiles(settings).profile(share, name)
    devices, rows = share.nodes * (profile.gpus or 1), config.training.batch_size
    if rows % devices:
        raise ConfigError(
            f"{asked}, which are {devices} devices, and a batch of {rows} rows cannot be "
            f"divided between them; expected a multiple. Set training.batch_size to "
            f"{-(-rows // devices) * devices}, or ask for another number of nodes."
        )
    chosen = environment.get(BACKEND, "jax")
    if chosen != "jax":
        raise ConfigError(
            f"{asked}, and its environment says {BACKEND}={chosen}; expected jax, on which alone "
            f"Keras trains over several nodes. Leave {BACKEND} out."
        )


def arrange(manifest: dict[str, Any]) -> None:
    """Makes a Job with several completions one whose pods train one network together.

    Args:
        manifest: As Prefect would send it; it is changed. One pod's stays as it is.
    """
    spec = manifest["spec"]
    count = spec.get("completions") or 1
    if count == 1:
        return
    spec["completionMode"] = "Indexed"
    template = spec["template"]
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels[LABEL[0]] = LABEL[1]
    pod = template["spec"]
    pod["subdomain"] = SERVICE
    pod.setdefault("affinity", {})["podAntiAffinity"] = _apart(labels)
    container = pod["containers"][0]
    container["args"] = [*ENTRY, *container["args"]]
    container["env"] = _environment(container.get("env") or (), count)


def _apart(labels: Mapping[str, str]) -> dict[str, Any]:
    """The pods of a run are on nodes of their own, where there are enough."""
    same = {"matchLabels": {RUN_LABEL: labels.get(RUN_LABEL, "")}}
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": same}
    return {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": term}
        ]
    }


def _environment(given: Any, count: int) -> list[dict[str, Any]]:
    label = "metadata.labels['batch.kubernetes.io/{}']"
    own = [
        _field(JOB_NAME, label.format("job-name")),
        _field(JOB_ID, label.format("controller-uid")),
        # the kubelet fills in the name, which stands before it
        {"name": COORDINATOR, "value": f"$({JOB_NAME})-0.{SERVICE}:{PORT}"},
        {"name": COUNT, "value": str(count)},
        {"name": BACKEND, "value": "jax"},
    ]
    names = {each["name"] for each in own}
    return [*(each for each in given if each["name"] not in names), *own]


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
