"""What every manifest must keep to, as functions that say what does not."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]
WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob")
# made by the Prefect worker of our own template, and not in the manifests
RUN_LABELS = {"prefect.io/flow-run-id": "any"}
# of those among them that train together
TRAINING_LABELS = {"app.kubernetes.io/component": "training"}
# made by hand, as infra/README.md says, with the keys of these files
SECRETS = {"roundhouse-secrets": "runs.example.env", "roundhouse-servers": "servers.example.env"}
CLUSTER_API = {"worker"}


def violations(objects: list[Object], secrets: dict[str, set[str]]) -> list[str]:
    """Everything that is wrong with the objects of an overlay; a sentence each.

    Args:
        objects: The rendered overlay.
        secrets: The keys of each secret that the README has people make.
    """
    found: list[str] = []
    for item in objects:
        found += _in_clear(item)
        if item["kind"] in WORKLOADS:
            found += [f"{_name(item)}: {said}" for said in _pod(item, pod_template(item))]
    found += _references(objects, secrets)
    found += _selectors(objects)
    return [*found, *_permissions(objects), *_namespaces(objects)]


def pod_template(item: Object) -> Object:
    """The pod template of a workload."""
    spec = item["spec"]
    if item["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    template: Object = spec["template"]
    return template


def containers(pod: Object) -> list[Object]:
    """All containers of a pod's specification."""
    return [*pod.get("initContainers", ()), *pod["containers"]]


def _name(item: Object) -> str:
    return f"{item['kind']} {item['metadata']['name']}"


def _pod(item: Object, template: Object) -> Iterator[str]:
    pod = template["spec"]
    if not pod.get("securityContext", {}).get("runAsNonRoot"):
        yield "may run as root"
    if not pod.get("securityContext", {}).get("runAsUser"):
        yield "says no user other than 0"
    if pod.get("securityContext", {}).get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "has no seccomp profile"
    if any(pod.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC")):
        yield "shares the node's namespaces"
    if any("hostPath" in volume for volume in pod.get("volumes", ())):
        yield "mounts a path of the node"
    if pod.get("automountServiceAccountToken") is not (item["metadata"]["name"] in CLUSTER_API):
        yield "does not say rightly whether it has a token for the cluster's API"
    if pod.get("serviceAccountName", "default") == "default":
        yield "uses the default service account"
    if pod.get("enableServiceLinks", True):
        yield "lets services put variables such as MLFLOW_PORT into it"
    for container in containers(pod):
        yield from (f"{container['name']} {said}" for said in _container(container))
    # a Job says how it is by ending
    for container in pod["containers"] if item["kind"] in ("Deployment", "StatefulSet") else ():
        missing = {"startupProbe", "livenessProbe", "readinessProbe"} - set(container)
        yield from (f"{container['name']} has no {probe}" for probe in missing)


def _container(container: Object) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if context.get("privileged"):
        yield "is privileged"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "may write to its root file system"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    if "runAsUser" in context or "runAsNonRoot" in context:
        yield "says another user than its pod"
    tag = container["image"].rpartition("/")[2].partition(":")[2]
    if not tag or tag == "latest":
        yield f"has the image {container['image']}, without a version"
    for kind in ("requests", "limits"):
        for resource in ("cpu", "memory"):
            if resource not in container.get("resources", {}).get(kind, {}):
                yield f"has no {kind} of {resource}"


def _in_clear(item: Object) -> Iterator[str]:
    """Secrets whose value, not their name, is written down."""
    if item["kind"] == "Secret":
        yield f"{_name(item)}: is written down"
    words = ("PASSWORD", "SECRET", "TOKEN", "AUTH_STRING", "_KEY", "DATABASE", "REDIS")
    values = dict(item.get("data", {})) if item["kind"] == "ConfigMap" else {}
    if item["kind"] in WORKLOADS:
        for container in containers(pod_template(item)["spec"]):
            for variable in container.get("env", ()):
                values[variable["name"]] = variable.get("value", "")
    for name, value in values.items():
        if value and any(word in name for word in words):
            yield f"{_name(item)}: {name} is written down"
        if "://" in value and "@" in value:
            yield f"{_name(item)}: {name} holds a user or a password"


def _references(objects: list[Object], secrets: dict[str, set[str]]) -> Iterator[str]:
    """What a pod names and the overlay lacks."""
    there: dict[str, dict[str, Object]] = defaultdict(dict)
    for item in objects:
        there[item["kind"]][item["metadata"]["name"]] = item
    for item in objects:
        if item["kind"] not in WORKLOADS:
            continue
        pod = pod_template(item)["spec"]
        if pod.get("serviceAccountName") not in there["ServiceAccount"]:
            yield f"{_name(item)}: no service account {pod.get('serviceAccountName')}"
        if item["kind"] == "StatefulSet" and item["spec"]["serviceName"] not in there["Service"]:
            yield f"{_name(item)}: no service {item['spec']['serviceName']}"
        volumes = {volume["name"] for volume in pod.get("volumes", ())}
        volumes |= {c["metadata"]["name"] for c in item["spec"].get("volumeClaimTemplates", ())}
        for volume in pod.get("volumes", ()):
            name = volume.get("configMap", {}).get("name")
            if name and name not in there["ConfigMap"]:
                yield f"{_name(item)}: no ConfigMap {name}"
        for container in containers(pod):
            for mount in container.get("volumeMounts", ()):
                if mount["name"] not in volumes:
                    yield f"{_name(item)}: no volume {mount['name']}"
            for source in container.get("envFrom", ()):
                yield from _known(item, source, there, secrets)
            for variable in container.get("env", ()):
                yield from _known(item, variable.get("valueFrom", {}), there, secrets)
    yield from _other_references(there)


def _other_references(there: dict[str, dict[str, Object]]) -> Iterator[str]:
    """What an ingress or the binding of a role names and the overlay lacks."""
    for item in there["Ingress"].values():
        for rule in item["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                name = path["backend"]["service"]["name"]
                if name not in there["Service"]:
                    yield f"{_name(item)}: no service {name}"
    for item in there["RoleBinding"].values():
        if item["roleRef"]["name"] not in there["Role"]:
            yield f"{_name(item)}: no role {item['roleRef']['name']}"
        for subject in item["subjects"]:
            if subject["name"] not in there["ServiceAccount"]:
                yield f"{_name(item)}: no service account {subject['name']}"


def _known(
    item: Object, source: Object, there: dict[str, dict[str, Object]], secrets: dict[str, set[str]]
) -> Iterator[str]:
    for kind in ("configMapRef", "configMapKeyRef"):
        reference = source.get(kind)
        if not reference:
            continue
        if reference["name"] not in there["ConfigMap"]:
            yield f"{_name(item)}: no ConfigMap {reference['name']}"
        elif (
            "key" in reference
            and reference["key"] not in (there["ConfigMap"][reference["name"]]["data"])
        ):
            yield f"{_name(item)}: no key {reference['key']} in {reference['name']}"
    for kind in ("secretRef", "secretKeyRef"):
        reference = source.get(kind)
        if not reference:
            continue
        if reference["name"] not in secrets:
            yield f"{_name(item)}: no secret {reference['name']}"
        elif "key" in reference and reference["key"] not in secrets[reference["name"]]:
            yield f"{_name(item)}: no key {reference['key']} in {reference['name']}"


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector picks what has these labels."""
    for name, value in selector.get("matchLabels", {}).items():
        if labels.get(name) != value:
            return False
    for expression in selector.get("matchExpressions", ()):
        value = labels.get(expression["key"])
        if expression["operator"] == "Exists" and value is None:
            return False
        if expression["operator"] == "In" and value not in expression["values"]:
            return False
    return True


def _selectors(objects: list[Object]) -> Iterator[str]:
    """Selectors that pick nothing, and ports that nobody has."""
    templates = [pod_template(item) for item in objects if item["kind"] in WORKLOADS]
    pods = [(template["metadata"]["labels"], template["spec"]) for template in templates]
    for item in objects:
        kind, spec = item["kind"], item.get("spec", {})
        if kind in ("Deployment", "StatefulSet"):
            labels = pod_template(item)["metadata"]["labels"]
            if not matches(spec["selector"], labels):
                yield f"{_name(item)}: its selector does not match its pods"
            if sum(matches(spec["selector"], found) for found, _ in pods) != 1:
                yield f"{_name(item)}: its selector matches pods of others"
        if kind == "PodDisruptionBudget" and not any(
            matches(spec["selector"], labels) for labels, _ in pods
        ):
            yield f"{_name(item)}: its selector matches no pod"
        if kind == "Service":
            chosen = [
                pod for found, pod in pods if matches({"matchLabels": spec["selector"]}, found)
            ]
            if not chosen and spec["selector"] == TRAINING_LABELS:
                # the worker makes its pods, and they agree on their ports
                continue
            if not chosen:
                yield f"{_name(item)}: its selector matches no pod"
            for port in spec["ports"]:
                if not all(port["targetPort"] in _ports(pod) for pod in chosen):
                    yield f"{_name(item)}: no port {port['targetPort']}"
        if kind == "NetworkPolicy":
            yield from (f"{_name(item)}: {said}" for said in _policy(spec, pods))


def _policy(spec: Object, pods: list[tuple[dict[str, str], Object]]) -> Iterator[str]:
    everyone = [*(labels for labels, _ in pods), RUN_LABELS]
    chosen = [labels for labels in everyone if matches(spec["podSelector"], labels)]
    if not chosen:
        yield "its selector matches no pod"
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for rule in spec.get(direction, ()):
            receivers = chosen if direction == "ingress" else []
            for peer in rule.get(side, ()):
                if "podSelector" not in peer:
                    continue
                found = [labels for labels in everyone if matches(peer["podSelector"], labels)]
                if not found:
                    yield f"{side} matches no pod"
                if direction == "egress":
                    receivers += found
            for port in rule.get("ports", ()):
                for labels in receivers:
                    pod = next((pod for known, pod in pods if known == labels), None)
                    if pod is not None and port["port"] not in _ports(pod):
                        yield f"no port {port['port']} where it leads"


def _ports(pod: Object) -> set[object]:
    found: set[object] = set()
    for container in pod["containers"]:
        for port in container.get("ports", ()):
            found |= {port["name"], port["containerPort"]}
    return found


def _permissions(objects: list[Object]) -> Iterator[str]:
    for item in objects:
        if item["kind"] in ("ClusterRole", "ClusterRoleBinding"):
            yield f"{_name(item)}: reaches beyond the namespace"
        if item["kind"] in ("Role", "ClusterRole"):
            for rule in item["rules"]:
                if "*" in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]:
                    yield f"{_name(item)}: allows everything of a kind"
                if "secrets" in rule["resources"]:
                    yield f"{_name(item)}: reads secrets"


def _namespaces(objects: list[Object]) -> Iterator[str]:
    own = [item for item in objects if item["kind"] == "Namespace"]
    for item in own:
        if item["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{_name(item)}: does not enforce restricted pods"
    names = {item["metadata"]["name"] for item in own}
    for item in objects:
        if item not in own and item["metadata"].get("namespace") not in names:
            yield f"{_name(item)}: is in another namespace"
