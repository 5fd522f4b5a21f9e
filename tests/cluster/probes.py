"""Whether a container is up, as a kubelet asks: its startup probe first, then its readiness."""

import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

# a probe is asked at least this often: tests have no time for a cluster's periods
PERIOD_SECONDS = 2.0


class Probes:
    """The probes of a container.

    Args:
        pod: Its pod.
        container: The container.
        address: The pod's address.
        enter: The program that runs a command in the container.
    """

    def __init__(self, pod: Any, container: Any, address: str, enter: Path) -> None:
        self._pod, self._address, self._enter = pod, address, enter
        startup, readiness = container.get("startupProbe"), container.get("readinessProbe")
        self._waiting = [probe for probe in (startup, readiness) if probe]
        self._asked = 0.0

    def ready(self) -> bool:
        """Whether every probe has answered well once; asks the next one where it is time."""
        if self._waiting and time.monotonic() - self._asked > PERIOD_SECONDS:
            if self._well(self._waiting[0]):
                self._waiting.pop(0)
            self._asked = time.monotonic()
        return not self._waiting

    def _well(self, probe: Any) -> bool:
        seconds = probe.get("timeoutSeconds", 1)
        try:
            if asked := probe.get("httpGet"):
                place = f"{self._address}:{port_number(self._pod, asked['port'])}"
                answer = httpx.get(
                    f"http://{place}{asked['path']}", timeout=seconds, trust_env=False
                )
                return answer.status_code < httpx.codes.BAD_REQUEST
            command = [self._enter, *probe["exec"]["command"]]
            return not subprocess.run(
                command, timeout=seconds, check=False, capture_output=True
            ).returncode
        except (httpx.HTTPError, subprocess.TimeoutExpired):
            return False


def port_number(pod: Any, port: int | str) -> int:
    """The number of a port of a pod, which may be given by its name."""
    if isinstance(port, int):
        return port
    ports = [p for c in pod["spec"]["containers"] for p in c.get("ports", ())]
    return next(int(p["containerPort"]) for p in ports if p["name"] == port)
