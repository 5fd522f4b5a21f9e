"""The variables of our job template: the form that a work pool has in the Prefect UI."""

from typing import Any

from infra.clusters import images, quantities
from infra.clusters.placement import ON_LINUX
from infra.clusters.profiles import LABEL_KEY

RUN_ACCOUNT, SETTINGS_MAP, SECRETS = "roundhouse-run", "roundhouse-settings", "roundhouse-secrets"
NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
TAINT_EFFECTS = ["NoSchedule", "PreferNoSchedule", "NoExecute"]
# filled in by the kubelet from the secret, so that no password stands in a Job
LOGIN = {
    "PREFECT_API_AUTH_STRING": "$(ROUNDHOUSE_USER):$(ROUNDHOUSE_PASSWORD)",
    "MLFLOW_TRACKING_USERNAME": "$(ROUNDHOUSE_USER)",
    "MLFLOW_TRACKING_PASSWORD": "$(ROUNDHOUSE_PASSWORD)",
}


def form() -> dict[str, dict[str, Any]]:
    """The variables by name, each as a JSON schema; without what a cluster's profiles say.

    What is changed most comes first. Each says its place: PostgreSQL keeps no order of keys, and
    Prefect's pages go by this one.
    """
    parts = (_image(), _resources(), _placement(), _time(), _identity(), _container())
    return _in_order({name: schema for part in parts for name, schema in part.items()})


def _in_order(properties: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    placed = {}
    for position, (name, schema) in enumerate(properties.items()):
        found = {**schema, "position": position}
        if "properties" in schema:
            found["properties"] = _in_order(schema["properties"])
        if "properties" in schema.get("items", {}):
            fields = _in_order(schema["items"]["properties"])
            found["items"] = {**schema["items"], "properties": fields}
        placed[name] = found
    return placed


def _image() -> dict[str, dict[str, Any]]:
    return {
        "image": _text(
            "Image",
            "What runs, with a version as its tag or with a digest; never latest.",
            pattern=images.PATTERN,
            examples=[images.EXAMPLE],
        )
    }


def _container() -> dict[str, dict[str, Any]]:
    return {
        "image_pull_policy": _text(
            "Image pull policy",
            "When a node fetches the image.",
            enum=["IfNotPresent", "Always", "Never"],
            default="IfNotPresent",
        ),
        "image_pull_secrets": _list(
            "Image pull secrets",
            "Secrets of the registry; nothing takes those of the service account.",
            {"type": "object", "required": ["name"], "properties": {"name": _name("Secret")}},
        ),
        "command": _text("Command", "What the container runs; nothing takes Prefect's own."),
        "env": _map(
            "Environment variables",
            "Given to the run; $(NAME) is a variable of the config map or the secret. A password "
            "belongs into the secret: a run that would show one here is refused.",
            default={},
        ),
        "env_from": _list(
            "Environment from",
            "Config maps and secrets whose keys are environment variables of the run.",
            {
                "type": "object",
                "properties": {
                    "configMapRef": _reference("Config map"),
                    "secretRef": _reference("Secret"),
                },
            },
            default=[{"configMapRef": {"name": SETTINGS_MAP}}, {"secretRef": {"name": SECRETS}}],
        ),
    }


def _resources() -> dict[str, dict[str, Any]]:
    return {
        "cpu_request": _amount(
            "CPU request", "CPUs that are reserved; more are used where nobody needs them.", "2"
        ),
        "cpu_limit": _amount(
            "CPU limit", "CPUs at most; nothing lets a run use what its node has to spare.", "4"
        ),
        "memory_request": _amount("Memory request", "Memory that is reserved.", "4Gi"),
        "memory_limit": _amount(
            "Memory limit", "Memory at most; a run that needs more is ended.", "4Gi"
        ),
        "gpus": _number("GPUs", "How many, all on one node; nothing takes none.", 0, 16),
        "gpu_type": _text(
            "GPU type",
            "Kind of GPU, as nodes are labelled with; nothing takes any.",
            maxLength=63,
            pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$",
            examples=["NVIDIA-H100-80GB-HBM3"],
        ),
        "nodes": _number(
            "Nodes",
            "Pods of one training, each with all of the above; for the deployment training alone.",
            1,
            64,
        ),
        "shared_memory": _amount(
            "Shared memory", "Size of /dev/shm at most; what is in use counts as memory.", "1Gi"
        ),
        "temporary_size": _amount(
            "Temporary files",
            "Size of /tmp, and of the home folder, at most.",
            "5Gi",
            default="5Gi",
        ),
        "work_volume": {
            "title": "Working folder",
            "description": "Holds downloads, and checkpoints until they are stored: a part of the "
            "node's disk, which is gone with the pod, or the claim, if one is named.",
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {
                "name": _text("Volume", "Always this one.", enum=["work"], default="work"),
                "emptyDir": {
                    "title": "A part of the node's disk",
                    "description": "Where no claim is named.",
                    "type": "object",
                    "properties": {"sizeLimit": _amount("Size", "At most.", "20Gi")},
                },
                "persistentVolumeClaim": {
                    "title": "A persistent volume claim",
                    "description": "What is in it outlives the pod.",
                    "type": "object",
                    "required": ["claimName"],
                    "properties": {"claimName": _name("Claim", "Its name, in the namespace.")},
                },
            },
        },
    }


def _placement() -> dict[str, dict[str, Any]]:
    key = _text("Label", "Of the node.", pattern=LABEL_KEY)
    operators = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    return {
        "node_requirements": _list(
            "Node selector",
            "What a node must be: each label with the values that will do.",
            {
                "type": "object",
                "required": ["key", "operator"],
                "properties": {
                    "key": key,
                    "operator": _text("Operator", "How it is compared.", enum=operators),
                    "values": _list(
                        "Values", "One of them will do, for In.", _text("Value", "Of the label.")
                    ),
                },
            },
            default=[ON_LINUX],
            minItems=1,
        ),
        "tolerations": _list(
            "Tolerations",
            "Taints of nodes that do not keep the run away.",
            {
                "type": "object",
                "properties": {
                    "key": _text("Taint", "Its key; nothing stands for all."),
                    "operator": _text(
                        "Operator",
                        "Whether the value has to be the taint's, or is not looked at.",
                        enum=["Equal", "Exists"],
                    ),
                    "value": _text("Value", "Of the taint, for Equal."),
                    "effect": _text(
                        "Effect", "Of the taint; nothing stands for all.", enum=TAINT_EFFECTS
                    ),
                    "tolerationSeconds": _number(
                        "Seconds",
                        "How long a run stays on its node after the taint came, for NoExecute; "
                        "nothing stands for ever.",
                        0,
                        86_400,
                    ),
                },
            },
        ),
        "priority_class_name": _name(
            "Priority class", "Says who is put out first where there is no room."
        ),
        "runtime_class_name": _name(
            "Runtime class", "Container runtime, where GPUs need one of their own."
        ),
    }


def _time() -> dict[str, dict[str, Any]]:
    return {
        "pod_watch_timeout_seconds": _number(
            "Start within, seconds",
            "How long a node may take to come before the run is given up.",
            60,
            86_400,
        ),
        "active_deadline_seconds": _number(
            "Deadline, seconds", "How long a run may last, waiting included.", 300, 2_592_000
        ),
        "grace_period_seconds": _number(
            "Grace period, seconds", "How long a run has to end when it is told to.", 5, 3600
        ),
        "ttl_seconds_after_finished": _number(
            "Kept, seconds",
            "How long an ended Job is kept, with what it wrote.",
            300,
            2_592_000,
            default=86_400,
        ),
    }


def _identity() -> dict[str, dict[str, Any]]:
    return {
        "name": _text("Name", "Of the Job; nothing takes that of the run."),
        "namespace": _name("Namespace", "Where the Job is."),
        "service_account_name": _name(
            "Service account", "Of the run; it has no token of the cluster.", default=RUN_ACCOUNT
        ),
        "labels": _map("Labels", "Of the Job and its pod.", default={}),
        "annotations": _map("Annotations", "Of the Job and its pod.", default={}),
    }


def _text(title: str, description: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "description": description, "type": "string", **more}


def _name(title: str, description: str = "Its name.", **more: Any) -> dict[str, Any]:
    return _text(title, description, pattern=NAME, maxLength=253, **more)


def _amount(title: str, description: str, example: str, **more: Any) -> dict[str, Any]:
    said = f"{description} Such as {example}."
    return _text(title, said, pattern=quantities.PATTERN, examples=[example], **more)


def _number(
    title: str, description: str, minimum: int, maximum: int, **more: Any
) -> dict[str, Any]:
    bounds = {"minimum": minimum, "maximum": maximum}
    return {"title": title, "description": description, "type": "integer", **bounds, **more}


def _list(title: str, description: str, items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"title": title, "description": description, "type": "array", "items": items, **more}


def _map(title: str, description: str, **more: Any) -> dict[str, Any]:
    values = {"additionalProperties": {"type": "string"}}
    return {"title": title, "description": description, "type": "object", **values, **more}


def _reference(title: str) -> dict[str, Any]:
    optional = {
        "title": "May be missing",
        "description": "The run starts without it as well.",
        "type": "boolean",
    }
    properties = {"name": _name(title), "optional": optional}
    return {
        "title": title,
        "description": f"All of the {title.lower()}'s keys.",
        "type": "object",
        "required": ["name"],
        "properties": properties,
    }
