"""A cluster as runs will find it: each thing that they need, looked at before any is deployed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.clusters.requirements import Requirements
from infra.examinations.findings import Finding, reason
from tasks.errors import RoundhouseError

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient

WORKER, RUN = "roundhouse-worker", "roundhouse-run"
LOOK_SECONDS = 30.0
UNAUTHORISED, FORBIDDEN, NOT_FOUND = 401, 403, 404
APPLY = "kubectl apply -k infra/kubernetes/overlays/small (or external)"
ENFORCE = "pod-security.kubernetes.io/enforce"
# what this account reads, to look: group, resource, verb, and whether it is of the namespace
READS = (
    ("", "configmaps", "get", True), ("", "secrets", "get", True),
    ("", "serviceaccounts", "get", True), ("", "services", "get", True),
    ("", "persistentvolumeclaims", "list", True), ("", "nodes", "list", False),
    ("storage.k8s.io", "storageclasses", "list", False),
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where is looked, and for what.

    Args:
        client: A client of the cluster's API.
        wanted: What is asked of the cluster.
    """

    client: "ApiClient"
    wanted: Requirements

    @property
    def namespace(self) -> str:
        """The namespace of the runs."""
        return self.wanted.settings.namespace


Look = Callable[[Place], Awaitable[list[Finding]]]


def examine_cluster(wanted: Requirements) -> list[Finding]:
    """Looks at a cluster from all sides.

    Args:
        wanted: What is asked of it.

    Returns:
        What was found, in an order that can be read; only what comes first where nothing else
        could be seen.

    Raises:
        ConfigError: The library for clusters is not installed.
    """
    from infra.clusters.connection import require_library

    require_library()
    return asyncio.run(_examine(wanted))


async def _examine(wanted: Requirements) -> list[Finding]:
    from infra.clusters import nodes, surroundings
    from infra.clusters.connection import connected

    try:
        async with connected() as client:
            place = Place(client, wanted)
            found = await _looked("cluster", reachable, place)
            if not all(finding.is_well for finding in found):
                return found
            found += await _looked("namespace", namespace, place)
            if not all(finding.is_well for finding in found):
                return found
            looks: dict[str, Look] = {
                "permissions": permissions,
                "service accounts": accounts,
                "settings of runs": surroundings.settings_of_runs,
                "secrets": surroundings.secrets,
                "volumes": surroundings.volumes,
                "nodes": nodes.nodes,
                "image": surroundings.images,
            }
            parts = [_looked(what, look, place) for what, look in looks.items()]
            return [*found, *(f for part in await asyncio.gather(*parts) for f in part)]
    except RoundhouseError as error:
        fact, _, cure = str(error).partition("; ")
        return [Finding("cluster", fact, cure)]


async def _looked(what: str, look: Look, place: Place) -> list[Finding]:
    """What a look found, or why it could not; one that fails stops none of the others."""
    from aiohttp import ClientError
    from kubernetes_asyncio.client import ApiException

    try:
        return await asyncio.wait_for(look(place), LOOK_SECONDS)
    except ApiException as error:
        if error.status == FORBIDDEN:
            # whoever deploys need not be allowed to see all
            return [Finding(what, f"not looked at: {_said(error)}")]
        if error.status == UNAUTHORISED:
            cure = "log in again, or set KUBECONFIG to a file with valid credentials"
            return [Finding(what, "the API does not know who we are (401)", cure)]
        fact = f"the API answered {error.status}: {_said(error)}"
        return [Finding(what, fact, "mend that, and look again")]
    except TimeoutError:
        fact = f"no answer within {LOOK_SECONDS:g} s"
        return [Finding(what, fact, "see whether the API of the cluster is up")]
    except (ClientError, OSError) as error:
        cure = "see whether the cluster is up and this machine may reach it, or set KUBECONFIG"
        address = place.client.configuration.host
        return [Finding(what, f"no answer from {address}: {reason(error)}", cure)]


async def reachable(place: Place) -> list[Finding]:
    """Whether the API of the cluster answers."""
    from kubernetes_asyncio.client import VersionApi

    found = await VersionApi(place.client).get_code()
    address = place.client.configuration.host
    return [Finding("cluster", f"Kubernetes {found.git_version} at {address}")]


async def namespace(place: Place) -> list[Finding]:
    """Whether the namespace is there, and holds its pods to the restricted profile."""
    from kubernetes_asyncio.client import ApiException, CoreV1Api

    try:
        found = await CoreV1Api(place.client).read_namespace(place.namespace)
    except ApiException as error:
        if error.status != NOT_FOUND:
            raise
        cure = f"{APPLY}, or set ROUNDHOUSE_NAMESPACE to the one that Roundhouse is in"
        return [Finding("namespace", f"there is none named {place.namespace}", cure)]
    level = (found.metadata.labels or {}).get(ENFORCE)
    said = (
        f"pods are held to {level!r}" if level else "pods are held to nothing (ours need nothing)"
    )
    return [Finding("namespace", f"{place.namespace} is there, and {said}")]


async def permissions(place: Place) -> list[Finding]:
    """Whether we may read what is looked at, and the worker may do its work."""
    return [await _own(place), await _of_worker(place)]


async def accounts(place: Place) -> list[Finding]:
    """Whether the service accounts of the worker and of the runs are there."""
    from kubernetes_asyncio.client import ApiException, CoreV1Api

    missing = []
    for name in (WORKER, RUN):
        try:
            await CoreV1Api(place.client).read_namespaced_service_account(name, place.namespace)
        except ApiException as error:
            if error.status != NOT_FOUND:
                raise
            missing.append(name)
    if missing:
        fact = f"{' and '.join(missing)} not in {place.namespace}, and no pod starts without"
        return [Finding("service accounts", fact, APPLY)]
    return [Finding("service accounts", f"{WORKER} and {RUN} are there")]


async def _own(place: Place) -> Finding:
    from kubernetes_asyncio.client import AuthorizationV1Api

    api = AuthorizationV1Api(place.client)
    lacking = []
    for group, resource, verb, local in READS:
        attributes = _attributes(group, resource, verb, place.namespace if local else "")
        body = {"spec": {"resourceAttributes": attributes}}
        review = await api.create_self_subject_access_review(body)
        if not review.status.allowed:
            lacking.append(f"{verb} {resource}")
    if lacking:
        fact = f"we may not {', '.join(lacking)}; what that would show is not looked at"
        return Finding("our permissions", fact)
    return Finding("our permissions", "enough to look at everything")


async def _of_worker(place: Place) -> Finding:
    from kubernetes_asyncio.client import ApiException, AuthorizationV1Api

    from infra.clusters.worker import PERMISSIONS

    api, lacking = AuthorizationV1Api(place.client), []
    user = f"system:serviceaccount:{place.namespace}:{WORKER}"
    groups = ["system:authenticated", "system:serviceaccounts",
              f"system:serviceaccounts:{place.namespace}"]  # fmt: skip
    what = f"permissions of {WORKER}"
    for (group, resource), verbs in PERMISSIONS.items():
        for verb in verbs:
            attributes = _attributes(group, resource, verb, place.namespace)
            spec = {"user": user, "groups": groups, "resourceAttributes": attributes}
            try:
                review = await api.create_subject_access_review({"spec": spec})
            except ApiException as error:
                if error.status == FORBIDDEN:
                    return Finding(what, "not looked at: we may not ask what others may")
                raise
            if not review.status.allowed:
                lacking.append(f"{verb} {resource}")
    if lacking:
        fact = f"it may not {', '.join(lacking)} in {place.namespace}"
        return Finding(what, fact, f"{APPLY}, which has its role and the binding")
    return Finding(what, "all that its work needs")


def _attributes(group: str, resource: str, verb: str, name: str) -> dict[str, Any]:
    resource, _, part = resource.partition("/")
    return {
        "group": group, "resource": resource, "subresource": part, "verb": verb, "namespace": name,
    }  # fmt: skip


def _said(error: Any) -> str:
    """What the API says of an error, in a line."""
    import json

    try:
        return str(json.loads(error.body)["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return str(error.reason or "nothing that could be read")[:300]
