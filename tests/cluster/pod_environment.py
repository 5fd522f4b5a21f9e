"""What a container of a pod is given: its variables, its volumes and its command, as on a node."""

import base64
import os
import re
import sys
import zlib
from pathlib import Path
from typing import Any

from tests.cluster.api import Api, RefusedError

ROOT = Path(__file__).resolve().parents[2]
# what the image has at these places is this very environment
ENVIRONMENT = "/opt/roundhouse/venv"
REFERENCE = re.compile(r"\$(\$|\(([\w.-]+)\))")
# mounts that stay what they are on this machine: its own paths begin with them
SHARED = ("/tmp", "/dev/shm")


class ConfigurationError(Exception):
    """A ConfigMap, a Secret or a key of them that the pod names is not there."""


def variables(api: Api, pod: Any, container: Any) -> dict[str, str]:
    """The variables of a container, resolved as a kubelet does.

    Raises:
        ConfigurationError: If one refers to what is not there.
    """
    namespace, values = pod["metadata"]["namespace"], dict[str, str]()
    for source in container.get("envFrom", []):
        for resource, key in (("configmaps", "configMapRef"), ("secrets", "secretRef")):
            if reference := source.get(key):
                found = data_of(api, resource, reference, namespace)
                values |= {source.get("prefix", "") + name: value for name, value in found.items()}
    for entry in container.get("env", []):
        value = entry.get("value", "")
        if source := entry.get("valueFrom"):
            value = referred(api, pod, source)
        if value is not None:
            values[entry["name"]] = expanded(value, values)
    return values


def referred(api: Api, pod: Any, source: Any) -> str | None:
    """The value that `valueFrom` stands for; None for an optional one that is not there."""
    if field := source.get("fieldRef"):
        return field_of(pod, field["fieldPath"])
    for resource, key in (("configmaps", "configMapKeyRef"), ("secrets", "secretKeyRef")):
        if reference := source.get(key):
            found = data_of(api, resource, reference, pod["metadata"]["namespace"])
            if reference["key"] in found:
                return found[reference["key"]]
            if reference.get("optional"):
                return None
            raise ConfigurationError(
                f"couldn't find key {reference['key']} in {resource} {reference['name']}"
            )
    raise ConfigurationError(f"expected a field or a key, received {sorted(source)}")


def field_of(pod: Any, path: str) -> str:
    """A field of the pod by its path, such as metadata.labels['batch.kubernetes.io/job-name']."""
    if keyed := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str(pod["metadata"].get(keyed[1], {}).get(keyed[2], ""))
    known = {"status.podIP": "127.0.0.1", "status.hostIP": "127.0.0.1", **pod.get("given", {})}
    if path in known:
        return str(known[path])
    found = pod
    for name in path.split("."):
        found = found.get(name, {})
    return str(found or "")


def data_of(api: Api, resource: str, reference: Any, namespace: str) -> dict[str, str]:
    """What a ConfigMap or a Secret holds, as text."""
    name = reference.get("name") or reference.get("secretName")
    try:
        found = api.read(resource, name, namespace).get("data") or {}
    except RefusedError as refusal:
        if refusal.status != 404:
            raise
        if reference.get("optional"):
            return {}
        raise ConfigurationError(f'{resource.removesuffix("s")} "{name}" not found') from refusal
    if resource == "secrets":
        return {key: base64.b64decode(value).decode() for key, value in found.items()}
    return dict(found)


def expanded(text: str, values: dict[str, str]) -> str:
    """A text in which $(NAME) is the variable of that name, and $$ a dollar."""
    known = lambda match: "$" if match[1] == "$" else values.get(match[2], match[0])  # noqa: E731
    return REFERENCE.sub(known, text)


def mounts(api: Api, pod: Any, container: Any, folder: Path, claims: Path) -> dict[str, Path]:
    """The folders of this machine that stand for a container's volumes, by their mount paths.

    Args:
        api: Where ConfigMaps and Secrets are read.
        pod: The pod.
        container: One of its containers.
        folder: The pod's own folder.
        claims: The folder that holds what persistent volume claims stand for.

    Raises:
        ConfigurationError: If one is made of what is not there.
    """
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
    found = {}
    for mount in container.get("volumeMounts", []):
        volume = volumes[mount["name"]]
        here = folder / "volumes" / mount["name"]
        if claim := volume.get("persistentVolumeClaim"):
            here = claims / pod["metadata"]["namespace"] / claim["claimName"]
        here.mkdir(parents=True, exist_ok=True)
        for resource, key in (("configmaps", "configMap"), ("secrets", "secret")):
            if reference := volume.get(key):
                for name, value in data_of(
                    api, resource, reference, pod["metadata"]["namespace"]
                ).items():
                    (here / name).write_text(value)
        if mount["mountPath"] not in SHARED:
            found[mount["mountPath"]] = here / mount.get("subPath", "")
    return found


def here(text: str, places: dict[str, Path]) -> str:
    """A text in which each path inside the container is the one that stands for it."""
    for inside in sorted(places, key=len, reverse=True):
        text = re.sub(rf"(?<![\w/.-]){re.escape(inside)}(?![\w.-])", str(places[inside]), text)
    return text


def found_here(pod: Any, text: str) -> str:
    """A text in which what a headless service calls its pods is this machine.

    A cluster's names would lead to a port of each pod's own; here all share them, so each name has
    one that follows from it.
    """
    service = pod["spec"].get("subdomain")
    if not service:
        return text
    address = lambda match: f"127.0.0.1:{20_000 + zlib.crc32(match[1].encode()) % 10_000}"  # noqa: E731
    return re.sub(rf"\b([\w-]+)\.{re.escape(service)}:\d+", address, text)


def process(pod: Any, container: Any, values: dict[str, str], places: dict[str, Path]) -> Any:
    """The command, the variables and the folder of the process that stands for a container."""
    command = [*container.get("command", []), *container.get("args", [])]
    command = [here(expanded(part, values), places) for part in command]
    if command and Path(command[0]).name in {"python", "python3"}:
        command[0] = sys.executable
    inherited = {k: v for k, v in os.environ.items() if k.startswith(("LC_", "COVERAGE_"))}
    image = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
        "HOME": here("/home/roundhouse", places),
        "TMPDIR": here("/home/roundhouse", places),
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PREFECT_LOGGING_SETTINGS_PATH": str(ROOT / "infra" / "logging.yml"),
        "ROUNDHOUSE_HOME": here("/home/roundhouse/.roundhouse", places),
        "HOSTNAME": pod["metadata"]["name"],
    }
    given = {name: found_here(pod, here(value, places)) for name, value in values.items()}
    given["PATH"] = f"{image['PATH']}:{given.get('PATH', '')}"
    folder = here(container.get("workingDir", "/home/roundhouse"), places)
    return command, {**inherited, **image, **given}, folder
