"""A node of the tests' own: what is scheduled on it runs as processes of this machine.

Other than a real node it has no images and no isolation: `python` is the Python of the tests, with
this project as the image has it, and paths of the image and of volumes are folders of the node.
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.cluster.api import Api, RefusedError
from tests.cluster.certificates import write_certificate
from tests.cluster.node_logs import Found, served_logs
from tests.cluster.pod_network import PodNetwork, streams
from tests.cluster.pods import RunningPod, now

LEASES = "kube-node-lease"
LEASE_SECONDS = 40
RENEWAL_SECONDS = 2
GRACE_SECONDS = 30
CAPACITY = {"cpu": "16", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"}


class Node:
    """A node that is registered, keeps its lease, and runs its pods.

    Args:
        api: The cluster, as its administrator.
        name: The node's name.
        folder: An empty folder for its pods.
        labels: Labels of the node, such as the kind of its accelerator.
        taints: Taints, each with key, value and effect.
        capacity: What it has beyond the usual, such as `nvidia.com/gpu`.
        network: What gives each pod an address; without one all are at the machine's own.
    """

    def __init__(
        self,
        api: Api,
        name: str,
        folder: Path,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[Mapping[str, str]] = (),
        capacity: Mapping[str, str] | None = None,
        network: PodNetwork | None = None,
    ) -> None:
        self.api, self.name, self.folder, self.network = api, name, folder, network
        self._labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            **(labels or {}),
        }
        self._taints, self._capacity = list(taints), {**CAPACITY, **(capacity or {})}
        self._pods: dict[str, RunningPod] = {}
        self._lost, self._ready = threading.Event(), True
        self._port = 0

    @contextlib.contextmanager
    def running(self) -> Iterator["Node"]:
        """The node for as long as it lasts; its processes are ended with it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        certificate = write_certificate(self.folder, self.name, "127.0.0.1")
        with contextlib.ExitStack() as stack:
            self._port = stack.enter_context(served_logs(self._log_of, certificate))
            if self.network:
                self._port = stack.enter_context(streams(self.network, self._port, certificate))
            self._register()
            for work in (self._keep_lease, self._watch):
                threading.Thread(target=work, daemon=True, name=work.__name__).start()
            try:
                yield self
            finally:
                self.lose()
                self.api.delete("nodes", self.name)

    def pod(self, name: str) -> RunningPod:
        """A pod that runs on it, by its name.

        Raises:
            LookupError: If there is none of that name.
        """
        for pod in list(self._pods.values()):
            if pod.name == name:
                return pod
        raise LookupError(f"{self.name} runs {[p.name for p in self._pods.values()]}, not {name}")

    def evict(self, name: str) -> None:
        """Ends a pod as a node does that runs out of memory itself."""
        message = "The node was low on resource: memory."
        pod = self.pod(name)
        pod.tell("Evicted", message)
        pod.stop(grace(pod.pod), "Evicted", message)

    def lose(self) -> None:
        """Goes away without a word, as a machine that lost its power."""
        self._lost.set()
        for pod in list(self._pods.values()):
            pod.kill()

    def set_ready(self, ready: bool) -> None:
        """Says of itself whether it can run pods."""
        self._ready = ready
        self._say()

    def _register(self) -> None:
        metadata = {"name": self.name, "labels": self._labels}
        self.api.create("nodes", {"metadata": metadata, "spec": {"taints": self._taints}})
        self._say()
        lease = {"metadata": {"name": self.name, "namespace": LEASES}, "spec": self._lease()}
        self.api.delete("leases", self.name, LEASES)
        self.api.create("leases", lease, LEASES)

    def _say(self) -> None:
        condition = {
            "type": "Ready",
            "status": "True" if self._ready else "False",
            "reason": "KubeletReady" if self._ready else "KubeletNotReady",
            "lastHeartbeatTime": now(),
            "lastTransitionTime": now(),
        }
        status = {
            "capacity": self._capacity,
            "allocatable": self._capacity,
            "conditions": [condition],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
        }
        self.api.patch("nodes", self.name, {"status": status}, part="status")

    def _lease(self) -> dict[str, Any]:
        return {
            "holderIdentity": self.name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": now().replace("Z", ".000000Z"),
        }

    def _keep_lease(self) -> None:
        while not self._lost.wait(RENEWAL_SECONDS):
            with contextlib.suppress(RefusedError, httpx.HTTPError):
                self.api.patch("leases", self.name, {"spec": self._lease()}, LEASES)

    def _watch(self) -> None:
        while not self._lost.is_set():
            # a broken connection is made again, and begins with all that is there
            with contextlib.suppress(RefusedError, httpx.HTTPError, RuntimeError):
                for kind, pod in self.api.watch("pods", fieldSelector=f"spec.nodeName={self.name}"):
                    if self._lost.is_set():
                        return
                    self._follow(kind, pod)
            time.sleep(0.2)

    def _follow(self, kind: str, pod: Any) -> None:
        metadata = pod["metadata"]
        known = self._pods.get(metadata["uid"])
        if kind == "DELETED":
            if self._pods.pop(metadata["uid"], None):
                threading.Thread(target=known.kill, daemon=True).start()
        elif "deletionTimestamp" in metadata:
            if known is None:
                known = self._pods[metadata["uid"]] = RunningPod(
                    self.api, pod, self.folder, self.network
                )
                known.ended.set()
            if not known.removing:
                known.removing = True
                threading.Thread(target=self._remove, args=(known, grace(pod)), daemon=True).start()
        elif known is None and pod["status"].get("phase", "Pending") == "Pending":
            self._pods[metadata["uid"]] = RunningPod(self.api, pod, self.folder, self.network)
            self._pods[metadata["uid"]].start()

    def _remove(self, pod: RunningPod, seconds: float) -> None:
        pod.stop(seconds)
        pod.ended.wait()
        if not self._lost.is_set():
            pod.remove()

    def _log_of(self, namespace: str, name: str, container: str) -> Found | None:
        for pod in list(self._pods.values()):
            if (pod.namespace, pod.name) == (namespace, name) and pod.log(container).exists():
                return pod.log(container), partial(_runs, pod)
        return None


def _runs(pod: RunningPod) -> bool:
    return not pod.ended.is_set()


def grace(pod: Any) -> float:
    """The seconds that a pod has to end by itself."""
    asked = pod["metadata"].get("deletionGracePeriodSeconds")
    return float(
        pod["spec"].get("terminationGracePeriodSeconds", GRACE_SECONDS) if asked is None else asked
    )
