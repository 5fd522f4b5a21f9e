"""A cluster for the tests: one of their own, or the one that ROUNDHOUSE_TEST_KUBECONFIG names."""

import contextlib
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.api import Api, eventually
from tests.cluster.local_cluster import local_cluster, write_kubeconfig
from tests.cluster.node import Node
from tests.cluster.program import MissingError, control_plane

# read before the environment is cleaned
GIVEN = os.environ.get("ROUNDHOUSE_TEST_KUBECONFIG")
IMAGE = os.environ.get("ROUNDHOUSE_TEST_IMAGE", "registry.example.org/roundhouse:1.0.0")
HOST = os.environ.get("ROUNDHOUSE_TEST_HOST", "")


@dataclass(frozen=True)
class Cluster:
    """A cluster that tests may fill.

    Args:
        api: It, as its administrator.
        folder: A folder for kubeconfigs of others.
        own: Whether it was started for the tests, so that it runs no images.
        image: The image of pods that run this project.
        host: Under which address pods reach servers of this machine; empty for not at all.
    """

    api: Api
    folder: Path
    own: bool
    image: str = IMAGE
    host: str = ""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.api.kubeconfig

    def kubeconfig_of(self, account: str, namespace: str) -> Path:
        """A kubeconfig with the rights of a service account, by a token of its own."""
        import yaml

        asked = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        body = {"spec": {"expirationSeconds": 3600}}
        token = self.api.ask("POST", asked, body)["status"]["token"]
        content = yaml.safe_load(self.kubeconfig.read_text())
        found = next(c["cluster"] for c in content["clusters"])
        path = self.folder / f"{namespace}-{account}.kubeconfig"
        path.unlink(missing_ok=True)
        return write_kubeconfig(path, found, token)


@pytest.fixture(scope="session")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Cluster]:
    """A cluster with one node."""
    folder = tmp_path_factory.mktemp("cluster")
    if GIVEN:
        with contextlib.closing(Api(Path(GIVEN))) as api:
            yield Cluster(api, folder, own=False, host=HOST)
        return
    capture = request.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            program = control_plane()
    except MissingError as missing:
        pytest.skip(str(missing))
    with (
        local_cluster(program, folder) as kubeconfig,
        contextlib.closing(Api(kubeconfig)) as api,
        Node(api, "node", folder / "node").running(),
    ):
        # a new node is tainted as not ready until the controllers have seen it
        eventually(lambda: not api.read("nodes", "node")["spec"].get("taints"), what="a ready node")
        yield Cluster(api, folder, own=True, host=own_address())


def own_address() -> str:
    """An address of this machine that is not of its loopback, as a pod has one; empty for none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        # nothing is sent: the way there begins at the address
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return ""


@pytest.fixture
def node_with(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Adds a node for one test: (name, labels, taints, capacity) -> Node."""
    if not cluster.own:
        pytest.skip("needs nodes of its own, which a cluster that is given does not take")
    with contextlib.ExitStack() as stack:

        def add(name: str = "", **described: Any) -> Node:
            name = name or f"node-{uuid.uuid4().hex[:6]}"
            node = Node(cluster.api, name, tmp_path / name, **described)
            return stack.enter_context(node.running())

        yield add


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace that lasts as long as the test."""
    with new_namespace(cluster.api) as name:
        yield name


@contextlib.contextmanager
def new_namespace(api: Api, **labels: str) -> Iterator[str]:
    """A namespace with its default service account."""
    name = f"roundhouse-{uuid.uuid4().hex[:6]}"
    api.create("namespaces", {"metadata": {"name": name, "labels": labels}})
    try:
        # no pod is admitted before it is there
        eventually(lambda: api.read("serviceaccounts", "default", name))
        yield name
    finally:
        api.delete("namespaces", name)
