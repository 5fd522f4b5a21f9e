"""An API of Kubernetes for quick tests: what it was given, by the path at which it is asked for."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

NAMESPACE = "/api/v1/namespaces/roundhouse"
SETTINGS = f"{NAMESPACE}/configmaps/roundhouse-settings"
SECRETS = f"{NAMESPACE}/secrets/roundhouse-secrets"
NODES, CLAIMS = "/api/v1/nodes", f"{NAMESPACE}/persistentvolumeclaims"
ROOMY = {"cpu": "8", "memory": "32Gi"}


def node(taints: tuple[dict[str, str], ...] = (), **room: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "one", "labels": {"kubernetes.io/os": "linux"}},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": {**ROOMY, **room}},
    }


def fit() -> dict[str, Any]:
    """A cluster on which everything is as it should be."""
    settings = {
        "ROUNDHOUSE_PREFECT_API_URL": "http://prefect:4200/api",
        "ROUNDHOUSE_TRACKING_URI": "http://mlflow:5000",
        "ROUNDHOUSE_STORAGE": "s3://models/storage",
        "ROUNDHOUSE_ARTIFACTS": "s3://models/artifacts",
        "ROUNDHOUSE_USER": "admin",
    }
    secrets = dict.fromkeys(
        ("ROUNDHOUSE_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "cGxhbnRlZA=="
    )
    secrets["ROUNDHOUSE_PRIVACY_KEY"] = "cGxhbnRlZA=="
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    storage = {"metadata": {"name": "standard", "annotations": default}, "provisioner": "x"}
    return {
        "/version/": {
            "gitVersion": "v1.35.0", "major": "1", "minor": "35", "buildDate": "", "compiler": "gc",
            "gitCommit": "", "gitTreeState": "", "goVersion": "", "platform": "",
        },
        NAMESPACE: {"metadata": {"name": "roundhouse", "labels": restricted}},
        f"{NAMESPACE}/serviceaccounts/roundhouse-worker": {"metadata": {}},
        f"{NAMESPACE}/serviceaccounts/roundhouse-run": {"metadata": {}},
        f"{NAMESPACE}/services/prefect": {"metadata": {}},
        f"{NAMESPACE}/services/mlflow": {"metadata": {}},
        SETTINGS: {"data": settings},
        SECRETS: {"data": secrets},
        CLAIMS: {"items": []},
        NODES: {"items": [node(**{"nvidia.com/gpu": "2"})]},
        "/apis/storage.k8s.io/v1/storageclasses": {"items": [storage]},
    }  # fmt: skip


@dataclass
class StandInCluster:
    """What the API has, and what it denies."""

    objects: dict[str, Any] = field(default_factory=fit)
    forbidden: set[str] = field(default_factory=set)
    denied: set[tuple[str, str]] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        self.asked.append(path)
        if path in self.forbidden:
            return 403, {"message": f"{path} is forbidden: User cannot get it"}
        if path.startswith("/apis/authorization.k8s.io"):
            spec = body["spec"]
            attributes = spec["resourceAttributes"]
            wanted = (attributes["verb"], attributes["resource"])
            allowed = "user" not in spec or wanted not in self.denied
            return 201, {"spec": spec, "status": {"allowed": allowed}}
        if path not in self.objects:
            return 404, {"message": f"{path} not found"}
        return 200, self.objects[path]


@contextlib.contextmanager
def served(cluster: StandInCluster, kubeconfig: Path) -> Iterator[None]:
    """The API on a port of this machine, and a kubeconfig that leads there."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, content = cluster.answer(self.path, body)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [
            {"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
        ],
        "users": [{"name": "test", "user": {}}],
    }
    kubeconfig.write_text(yaml.safe_dump(content))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def registry(password: str) -> Iterator[str]:
    """A registry with every image, for whom a token was given to: all, or `puller` with a password.

    Args:
        password: The password; empty for all.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            login, token = self.headers.get("Authorization", ""), {"token": "given"}
            pair = base64.b64encode(f"puller:{password}".encode()).decode()
            if self.path.startswith("/token?service=images&scope=repository"):
                self.answer(200 if not password or login == f"Basic {pair}" else 401, token)
            else:
                self.answer(200 if login == "Bearer given" else 401, {})

        def answer(self, status: int, content: Any) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            if status == 401:
                place = f'realm="http://{self.headers["Host"]}/token",service="images"'
                scope = 'scope="repository:roundhouse:pull"'
                self.send_header("WWW-Authenticate", f"Bearer {place},{scope}")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
