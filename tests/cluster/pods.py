"""A pod on the node: the command of each of its containers as a process of this machine."""

import contextlib
import datetime
import shutil
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from tests.cluster import pod_environment
from tests.cluster.api import Api, RefusedError
from tests.cluster.images import Image
from tests.cluster.pod_environment import ConfigurationError
from tests.cluster.pod_network import Attachment, PodNetwork
from tests.cluster.probes import Probes
from tests.cluster.process_trees import ProcessTree

UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}
# an image whose name holds this word is in no registry
MISSING = "missing"
Status = dict[str, Any]


class RunningPod:
    """A pod that was bound to the node, until it has ended and is deleted.

    Args:
        api: The cluster.
        pod: The pod as it was when the node first saw it.
        folder: The folder of the node.
        network: What gives it an address of its own; None for the machine's.
    """

    def __init__(self, api: Api, pod: Any, folder: Path, network: PodNetwork | None = None) -> None:
        self.api, self.pod, self.network = api, pod, network
        self.name, self.namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        self.folder, self.claims = folder / pod["metadata"]["uid"], folder / "claims"
        self.processes: dict[str, ProcessTree] = {}
        self.ended, self.silent = threading.Event(), threading.Event()
        self.removing = False
        self._asked, self._reason = threading.Event(), ""
        self._statuses: dict[str, Status] = {}
        self._killed: set[str] = set()
        self._probes: dict[str, Probes] = {}
        self._attachment: Attachment | None = None
        self._restarts = 0
        self._thread = threading.Thread(target=self._live, daemon=True, name=self.name)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float, reason: str = "", message: str = "") -> None:
        """Asks its processes to end, and kills them once their time is over."""
        if self._asked.is_set():
            return
        self._reason = reason and f"{reason}: {message}"
        self._asked.set()
        threading.Thread(target=self._end_processes, args=(seconds,), daemon=True).start()

    def kill(self) -> None:
        """Ends its processes at once, and says nothing of it."""
        self.silent.set()
        self._asked.set()
        self._end_processes(0)
        self._thread.join(timeout=10)

    def run_out_of_memory(self, container: str) -> None:
        """Ends a container as its node does once it uses more memory than it may."""
        self._killed.add(container)
        self.processes[container].kill()

    def log(self, container: str) -> Path:
        """The file that holds the output of a container."""
        return self.folder / f"{container}.log"

    def _end_processes(self, seconds: float) -> None:
        if seconds:
            for process in list(self.processes.values()):
                process.terminate()
            deadline = time.monotonic() + seconds
            while not self.ended.is_set() and time.monotonic() < deadline:
                time.sleep(0.1)
        for process in list(self.processes.values()):
            process.kill()

    def _live(self) -> None:
        try:
            if self._start_containers():
                self._report("Running")
                self._watch()
            self._finish()
        finally:
            if self._attachment:
                self._attachment.close()
            self.ended.set()

    def _start_containers(self) -> bool:
        """Whether all of its containers have started; False where the pod was ended before."""
        (self.folder / "home").mkdir(parents=True)
        spec = self.pod["spec"]
        if self.network:
            self._attachment = self.network.attach(self.pod)
            self.pod["given"] = {"status.podIP": self._attachment.address}
        for container in spec.get("initContainers", []):
            if not self._start_container(container):
                return False
            self._report("Pending")
            while (code := self.processes[container["name"]].code()) is None:
                time.sleep(0.1)
            self._statuses[container["name"]] = self._terminated(container["name"], code)
            if code:
                return False
            del self.processes[container["name"]]
        return all(self._start_container(container) for container in spec["containers"])

    def _start_container(self, container: Any) -> bool:
        name, tries = container["name"], 0
        while not self._asked.is_set():
            tries += 1
            if MISSING in container["image"]:
                reason = "ErrImagePull" if tries == 1 else "ImagePullBackOff"
                self._refuse(container, reason, f'Failed to pull image "{container["image"]}"')
            else:
                try:
                    self._begin(container)
                except ConfigurationError as error:
                    self._refuse(container, "CreateContainerConfigError", str(error))
                else:
                    self._statuses[name] = {"running": {"startedAt": now()}}
                    return True
            self._asked.wait(1)
        return False

    def _begin(self, container: Any) -> None:
        places = {
            pod_environment.ENVIRONMENT: Path(pod_environment.sys.prefix),
            "/home/roundhouse": self.folder / "home",
            **pod_environment.mounts(self.api, self.pod, container, self.folder, self.claims),
        }
        values = pod_environment.variables(self.api, self.pod, container)
        image = self.network.image(container["image"]) if self.network else Image()
        container = {"command": list(image.entry_point), **container}
        values = {**image.variables, **values}
        command, environment, folder = pod_environment.process(self.pod, container, values, places)
        if self._attachment:
            command, self._probes[container["name"]] = self._attachment.entered(
                self.pod, container, command, environment
            )
        self.processes[container["name"]] = ProcessTree(
            command, environment, Path(folder), self.log(container["name"])
        )

    def _ready(self, name: str) -> bool:
        """Whether a container is up and, where it has probes, says so."""
        probes = self._probes.get(name)
        return "running" in self._statuses[name] and (probes is None or probes.ready())

    def _refuse(self, container: Any, reason: str, message: str) -> None:
        """Says why a container does not start; what is said already is not said again."""
        waiting = {"waiting": {"reason": reason, "message": message}}
        if self._statuses.get(container["name"]) != waiting:
            self._statuses[container["name"]] = waiting
            self._report("Pending")
            self.tell("Failed", f"{message}: {reason}")

    def _watch(self) -> None:
        """Waits until its processes have ended, and kills what takes more memory than it may."""
        containers = {c["name"]: c for c in self.pod["spec"]["containers"]}
        ready = self._all_ready()
        while any("running" in self._statuses[name] for name in containers):
            for name, container in containers.items():
                process = self.processes[name]
                if "running" not in self._statuses[name]:
                    continue
                limit = container.get("resources", {}).get("limits", {}).get("memory")
                if limit and process.memory() > quantity(limit):
                    self._killed.add(name)
                    process.kill()
                if process.code() is not None:
                    self._end_container(container)
            if self._all_ready() != ready:
                ready = not ready
                self._report("Running")
            time.sleep(0.1)

    def _all_ready(self) -> bool:
        return all(self._ready(c["name"]) for c in self.pod["spec"]["containers"])

    def _end_container(self, container: Any) -> None:
        """Notes how a container ended, and starts it again where that is asked for."""
        name = container["name"]
        self._statuses[name] = self._terminated(name, self.processes[name].kill())
        if self.pod["spec"].get("restartPolicy") == "Always" and not self._asked.wait(1):
            self._restarts += 1
            self._start_container(container)
        self._report("Running")

    def _finish(self) -> None:
        codes = {name: process.kill() for name, process in self.processes.items()}
        self._statuses |= {name: self._terminated(name, code) for name, code in codes.items()}
        well = bool(codes) and not any(codes.values()) and not self._reason
        self._report("Succeeded" if well else "Failed")

    def _terminated(self, name: str, code: int) -> Status:
        reason = "OOMKilled" if name in self._killed else "Error" if code else "Completed"
        return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": now()}}

    def _report(self, phase: str) -> None:
        """Tells the cluster how the pod is."""
        if self.silent.is_set():
            return
        ready = "True" if phase == "Running" and self._all_ready() else "False"
        address = self._attachment.address if self._attachment else "127.0.0.1"
        reason, _, message = self._reason.partition(": ")
        status = {
            "phase": phase,
            "hostIP": "127.0.0.1",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": self.pod["metadata"]["creationTimestamp"],
            "conditions": [
                {"type": kind, "status": ready} for kind in ("Ready", "ContainersReady")
            ],
            "containerStatuses": self._of("containers"),
            "initContainerStatuses": self._of("initContainers"),
            **({"reason": reason, "message": message} if reason else {}),
        }
        if reason:
            condition = {"type": "DisruptionTarget", "status": "True", "message": message}
            status["conditions"].append({**condition, "reason": "TerminationByKubelet"})
        self._send(status)

    def _send(self, status: Status) -> None:
        with contextlib.suppress(RefusedError):
            self.api.patch("pods", self.name, {"status": status}, self.namespace, part="status")

    def _of(self, kind: str) -> list[Status]:
        return [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": self._ready(container["name"]),
                "restartCount": self._restarts,
                "state": self._statuses[container["name"]],
            }
            for container in self.pod["spec"].get(kind, [])
            if container["name"] in self._statuses
        ]

    def tell(self, reason: str, message: str, kind: str = "Warning") -> None:
        """An event of the pod, as `kubectl describe` shows it."""
        metadata = self.pod["metadata"]
        body = {
            "metadata": {"name": f"{self.name}.{uuid.uuid4().hex[:12]}"},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                **{key: metadata[key] for key in ("name", "namespace", "uid")},
            },
            "reason": reason,
            "message": message,
            "type": kind,
            "count": 1,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "source": {"component": "kubelet", "host": self.pod["spec"]["nodeName"]},
        }
        # where the pod's namespace is being deleted there is nobody to tell
        with contextlib.suppress(RefusedError):
            self.api.create("events", body, self.namespace)

    def remove(self) -> None:
        """Deletes the pod for good, and its folder."""
        gone = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.pod["metadata"]["uid"]}}
        with contextlib.suppress(RefusedError):
            self.api.delete("pods", self.name, self.namespace, **gone)
        shutil.rmtree(self.folder, ignore_errors=True)


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def quantity(text: str) -> float:
    """A quantity of memory in bytes, such as 512Mi."""
    for unit, factor in UNITS.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text)
