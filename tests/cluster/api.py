"""The Kubernetes API on plain dicts, for the node and for what tests ask and change."""

import asyncio
import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx

SECONDS = 60
T = TypeVar("T")
CORE = ("nodes", "pods", "events", "secrets", "services", "configmaps", "namespaces",
        "serviceaccounts", "persistentvolumeclaims", "persistentvolumes",
        "resourcequotas")  # fmt: skip
GROUPS = {
    "jobs": "batch/v1",
    "cronjobs": "batch/v1",
    "deployments": "apps/v1",
    "leases": "coordination.k8s.io/v1",
    "priorityclasses": "scheduling.k8s.io/v1",
    "statefulsets": "apps/v1",
    "roles": "rbac.authorization.k8s.io/v1",
    "rolebindings": "rbac.authorization.k8s.io/v1",
    "storageclasses": "storage.k8s.io/v1",
}
MERGE = {"Content-Type": "application/strategic-merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}


class RefusedError(Exception):
    """What the API server answered instead; its `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """A cluster as one of its users sees it.

    Args:
        kubeconfig: The file that says where it is and who the user is.
    """

    def __init__(self, kubeconfig: Path) -> None:
        from kubernetes_asyncio import client, config

        self.kubeconfig = kubeconfig
        found = client.Configuration()
        asyncio.run(config.load_kube_config(str(kubeconfig), client_configuration=found))
        trust = ssl.create_default_context(cafile=found.ssl_ca_cert)
        if found.cert_file:
            trust.load_cert_chain(found.cert_file, found.key_file)
        token = found.api_key.get("BearerToken")
        self.host = str(found.host)
        self._http = httpx.Client(
            base_url=self.host,
            verify=trust,
            headers={"Authorization": token} if token else {},
            timeout=30,
            trust_env=False,
            limits=httpx.Limits(max_connections=None),
        )
        self._kinds: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """One request; its answer.

        Raises:
            RefusedError: If the answer is no success.
        """
        content = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        answer = self._http.request(method, path, content=content, headers=headers, params=options)
        if answer.is_error:
            with contextlib.suppress(ValueError):
                raise RefusedError(answer.status_code, answer.json()["message"])
            raise RefusedError(answer.status_code, answer.text)
        return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text

    def read(self, resource: str, name: str, namespace: str | None = None) -> Any:
        return self.ask("GET", place(resource, namespace, name))

    def find(self, resource: str, namespace: str | None = None, labels: str = "") -> list[Any]:
        """The objects of a kind, of one namespace or of all, by their labels."""
        found = self.ask("GET", place(resource, namespace), labelSelector=labels)
        return list(found["items"])

    def create(self, resource: str, body: Any, namespace: str | None = None) -> Any:
        return self.ask("POST", place(resource, namespace), body)

    def patch(
        self, resource: str, name: str, body: Any, namespace: str | None = None, part: str = ""
    ) -> Any:
        return self.ask("PATCH", place(resource, namespace, name, part), body, headers=MERGE)

    def delete(self, resource: str, name: str, namespace: str | None = None, **body: Any) -> None:
        """Deletes an object; that it is gone already is no matter."""
        try:
            self.ask("DELETE", place(resource, namespace, name), body)
        except RefusedError as refusal:
            if refusal.status != httpx.codes.NOT_FOUND:
                raise

    def apply(self, document: Any, namespace: str | None = None) -> Any:
        """Makes or changes an object to what a manifest says, by server-side apply."""
        version, metadata = document["apiVersion"], document["metadata"]
        root = f"/api/{version}" if version == "v1" else f"/apis/{version}"
        with self._lock:
            if version not in self._kinds:
                listed = self.ask("GET", root)["resources"]
                self._kinds[version] = {r["kind"]: r for r in listed if "/" not in r["name"]}
        resource = self._kinds[version][document["kind"]]
        if resource["namespaced"]:
            root += f"/namespaces/{metadata.get('namespace') or namespace}"
        path = f"{root}/{resource['name']}/{metadata['name']}"
        return self.ask("PATCH", path, document, headers=APPLY, fieldManager="tests", force="true")

    def watch(self, resource: str, **options: Any) -> Iterator[tuple[str, Any]]:
        """What is there, then every change of it, as (type, object), until the server ends it."""
        listed = self.ask("GET", place(resource), **options)
        yield from (("ADDED", item) for item in listed["items"])
        seen = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
        patience = httpx.Timeout(30, read=None)
        with self._http.stream(
            "GET", place(resource), params={**options, **seen}, timeout=patience
        ) as answer:
            for line in answer.iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                yield event["type"], event["object"]

    def close(self) -> None:
        self._http.close()


def place(
    resource: str, namespace: str | None = None, name: str | None = None, part: str = ""
) -> str:
    """The path of an object, or of all objects of its kind."""
    root = "/api/v1" if resource in CORE else f"/apis/{GROUPS[resource]}"
    within = [f"namespaces/{namespace}"] if namespace else []
    return "/".join([root, *within, resource, *filter(None, (name, part))])


def eventually(ask: Callable[[], T], seconds: float = SECONDS, what: str = "") -> T:
    """The first true answer to a question that is asked until then.

    Raises:
        TimeoutError: If there is none in time; with the last answer, or the last refusal.
    """
    deadline, last = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            if last := ask():
                return last
        except (RefusedError, httpx.HTTPError, OSError) as refusal:
            last = refusal
        time.sleep(0.1)
    raise TimeoutError(f"not within {seconds:g} s: {what or ask}; last: {last!r}")
