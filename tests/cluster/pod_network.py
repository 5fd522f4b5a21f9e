"""A network for the pods of a node: an address for each pod, and an address and names per service.

As in a real cluster a pod has its own loopback and its own ports, a service forwards to its ready
pods, and the token of a service account lies where clients look for it. What is missing is whatever
holds to network policies. It all lives in a network namespace of its own, so that nothing of it
outlasts the tests or meets another's ports; that needs root.
"""

import contextlib
import ctypes
import os
import shlex
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.api import Api, RefusedError
from tests.cluster.images import Image
from tests.cluster.local_cluster import SERVICE, free_ports
from tests.cluster.probes import Probes, port_number

NEW_NETWORK = 0x40000000  # CLONE_NEWNET
BRIDGE, GATEWAY, PREFIX = "pods", "10.77.0.1", 16
# services without an address of their own are given one of these
HEADLESS = "10.78.0"
API = (SERVICE, 443)
TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"
# names, and where there is one the token, are put over what the machine has
ENTER = f"""
set -e
hosts=$1 token=$2; shift 2
mount --bind "$hosts" /etc/hosts
if [ -n "$token" ]; then
  mount -t tmpfs tmpfs /run
  mkdir -p {TOKENS}
  mount --bind "$token" {TOKENS}
fi
exec "$@"
"""


def unavailable() -> str:
    """Why there can be no such network here; empty where there can."""
    lacking = [name for name in ("ip", "nsenter", "unshare", "mount") if not shutil.which(name)]
    if lacking:
        return f"needs {', '.join(lacking)}, to give pods a network"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "true"], check=False, capture_output=True
    )
    return "needs the right to make network namespaces, as root has" if tried.returncode else ""


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """Puts this thread, and the threads and processes that it starts, into a network of its own."""
    library = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if library.unshare(NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "no network namespace of one's own")
        try:
            ip("link", "set", "lo", "up")
            ip("link", "add", BRIDGE, "type", "bridge")
            ip("addr", "add", f"{GATEWAY}/{PREFIX}", "dev", BRIDGE)
            ip("link", "set", BRIDGE, "up")
            # it leads nowhere, but the API server takes its own address from its device
            ip("route", "add", "default", "dev", BRIDGE)
            yield
        finally:
            library.setns(before, NEW_NETWORK)
    finally:
        os.close(before)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass
class Attachment:
    """A pod's place in the network.

    Args:
        network: The network.
        address: Its address there.
        folder: Where the node looks up its address and how to enter its containers.
        holder: The process whose network it is; ends with its input.
    """

    network: "PodNetwork"
    address: str
    folder: Path
    holder: subprocess.Popen[bytes]

    def close(self) -> None:
        self.holder.kill()
        self.holder.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def entered(
        self, pod: Any, container: Any, command: Sequence[str], environment: dict[str, str]
    ) -> tuple[list[str], Probes]:
        """The command of a container as it runs in the pod's network, and the container's probes.

        Its variables are completed, and a program is left that runs other commands likewise.
        """
        host, port = API
        environment |= {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}
        environment["PATH"] = f"{self.network.path}:{environment['PATH']}"
        hosts = self.network.hosts(pod["metadata"]["namespace"])
        token = self.network.token(pod, self.folder / "token") or ""
        before = ["nsenter", "--net", "--target", str(self.holder.pid)]
        before += ["unshare", "--mount", "sh", "-c", ENTER, "sh", str(hosts), str(token)]
        program = self.folder / f"enter-{container['name']}"
        program.touch(mode=0o700)
        cleared = ["env", "-i", *(f"{name}={value}" for name, value in environment.items())]
        program.write_text(f'#!/bin/sh\nexec {shlex.join([*before, *cleared])} "$@"\n')
        return [*before, *command], Probes(pod, container, self.address, program)


class PodNetwork:
    """Addresses and names for pods, in the network that the node's own threads are in.

    Args:
        api: The cluster, as its administrator.
        folder: A folder of its own.
        program: What `control_plane()` built.
        images: What images bring, by the beginnings of their references.
        path: Folders of programs that containers find first.
    """

    def __init__(
        self, api: Api, folder: Path, program: Path, images: Mapping[str, Image], path: str
    ) -> None:
        self.api, self.folder, self.program = api, folder, program
        self.images, self.path = images, path
        self.pods = folder / "pods"
        self._lock = threading.Lock()
        self._attached = 0
        self._addresses: dict[tuple[str, str], str] = {}
        self._servers: list[socketserver.ThreadingTCPServer] = []
        folder.mkdir(parents=True)
        host, _, port = api.host.rpartition("//")[2].partition(":")
        self._serve(*API, lambda: (host, int(port)))

    def attach(self, pod: Any) -> Attachment:
        """Gives a pod an address."""
        with self._lock:
            self._attached += 1
            number = self._attached
        address, link = f"10.77.{1 + number // 250}.{1 + number % 250}", f"pod{number}"
        holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        self._await_network(holder.pid)
        target = str(holder.pid)
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", target)
        ip("link", "set", link, "master", BRIDGE, "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("addr", "add", f"{address}/{PREFIX}", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("route", "add", "default", "via", GATEWAY),
        ):
            inside = ["nsenter", "--net", "--target", target, "ip", *words]
            subprocess.run(inside, check=True, capture_output=True)
        folder = self.pods / pod["metadata"]["namespace"] / pod["metadata"]["name"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "address").write_text(address)
        return Attachment(self, address, folder, holder)

    @staticmethod
    def _await_network(number: int) -> None:
        own = Path("/proc/thread-self/ns/net").readlink()
        while Path(f"/proc/{number}/ns/net").readlink() == own:
            time.sleep(0.002)

    def image(self, reference: str) -> Image:
        """What an image brings."""
        found = (image for name, image in self.images.items() if reference.startswith(name))
        return next(found, Image())

    def hosts(self, namespace: str) -> Path:
        """The file of names for pods of a namespace, with whatever services it has by now."""
        with self._lock:
            lines = ["127.0.0.1 localhost", f"{API[0]} kubernetes.default.svc"]
            for service in self.api.find("services", namespace):
                name = service["metadata"]["name"]
                names = [name, f"{name}.{namespace}", f"{name}.{namespace}.svc"]
                names.append(f"{names[-1]}.cluster.local")
                lines.append(" ".join([self._address(service), *names]))
            path = self.folder / f"{namespace}.hosts"
            # in place: it is mounted already
            path.write_text("\n".join([*lines, ""]))
            return path

    def token(self, pod: Any, folder: Path) -> Path | None:
        """A folder with what a pod's client of the cluster's API needs; None if it has no token."""
        projected = [v["projected"] for v in pod["spec"].get("volumes", []) if "projected" in v]
        if not any("serviceAccountToken" in s for p in projected for s in p["sources"]):
            return None
        namespace, account = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
        asked = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        answer = self.api.ask("POST", asked, {"spec": {"expirationSeconds": 3607}})
        trusted = self.api.read("configmaps", "kube-root-ca.crt", namespace)["data"]["ca.crt"]
        folder.mkdir(exist_ok=True)
        content = {"token": answer["status"]["token"], "ca.crt": trusted, "namespace": namespace}
        for name, text in content.items():
            (folder / name).write_text(text)
        return folder

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _address(self, service: Any) -> str:
        metadata, spec = service["metadata"], service["spec"]
        key = metadata["namespace"], metadata["uid"]
        if key not in self._addresses:
            given = spec.get("clusterIP", "None")
            address = given if given != "None" else f"{HEADLESS}.{1 + len(self._addresses)}"
            self._addresses[key] = address
            for port in spec["ports"]:
                self._serve(address, port["port"], lambda port=port: self._ready(service, port))
        return self._addresses[key]

    def _ready(self, service: Any, port: Any) -> tuple[str, int]:
        """Where a ready pod of a service listens.

        Raises:
            ConnectionRefusedError: If there is none.
        """
        chosen = ",".join(f"{key}={value}" for key, value in service["spec"]["selector"].items())
        for pod in self.api.find("pods", service["metadata"]["namespace"], chosen):
            conditions = pod["status"].get("conditions", [])
            ready = {c["type"]: c["status"] for c in conditions}.get("Ready") == "True"
            if ready and "deletionTimestamp" not in pod["metadata"]:
                return pod["status"]["podIP"], port_number(
                    pod, port.get("targetPort", port["port"])
                )
        raise ConnectionRefusedError(f"no pod of {service['metadata']['name']} is ready")

    def _serve(self, address: str, port: int, find: Any) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with (
                    contextlib.suppress(OSError, RefusedError),
                    socket.create_connection(find(), 10) as other,
                ):
                    other.settimeout(None)
                    there = threading.Thread(target=pump, args=(self.request, other), daemon=True)
                    there.start()
                    pump(other, self.request)
                    there.join()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address, request_queue_size = True, True, 64

        ip("addr", "replace", f"{address}/32", "dev", "lo")
        server = Server((address, port), Handler)
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Passes on what one side sends until it has sent all."""
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def streams(network: PodNetwork, logs: int, certificate: tuple[Path, Path]) -> Iterator[int]:
    """Serves what a node streams, port-forward and exec, before its logs; the port."""
    (port,) = free_ports(1)
    flags: Sequence[str] = (
        f"--pods={network.pods}", f"--logs=https://127.0.0.1:{logs}", f"--port={port}",
        f"--certificate={certificate[0]}", f"--key={certificate[1]}",
    )  # fmt: skip
    command = [network.program, "node-streams", *flags]
    with (
        (network.folder / "streams.log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log) as process,
    ):
        try:
            yield port
        finally:
            process.kill()
