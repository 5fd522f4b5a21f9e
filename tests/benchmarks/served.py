"""The stack: how soon it is up, how soon a click becomes work, and what it costs to keep."""

import contextlib
import json
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from measuring import HERE, ROUNDHOUSE, environment, memory

SECONDS = 180.0
IDLE_SECONDS = 20.0
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Served:
    """A `roundhouse up` on a home, with what it took until all of it was there.

    Args:
        home: The home.
    """

    def __init__(self, home: Path) -> None:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            ports = one.getsockname()[1], other.getsockname()[1]
        self.api = f"http://127.0.0.1:{ports[0]}/api"
        variables = {
            "ROUNDHOUSE_HOME": str(home),
            "ROUNDHOUSE_PREFECT_PORT": str(ports[0]),
            "ROUNDHOUSE_MLFLOW_PORT": str(ports[1]),
        }
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [ROUNDHOUSE, "up"], env=environment(variables), stdout=subprocess.DEVNULL
        )
        addresses = (f"{self.api}/health", f"http://127.0.0.1:{ports[1]}/health")
        while not all(map(answers, addresses)):
            time.sleep(0.1)
        self.pages_seconds = time.perf_counter() - started
        while not self.worker_polls():
            time.sleep(0.1)
        self.seconds = time.perf_counter() - started
        while not self.is_deployed():
            time.sleep(0.1)

    def worker_polls(self) -> bool:
        with contextlib.suppress(urllib.error.URLError):
            workers = ask(f"{self.api}/work_pools/local/workers/filter")
            return any(worker["status"] == "ONLINE" for worker in workers)
        return False

    def is_deployed(self) -> bool:
        with contextlib.suppress(urllib.error.URLError):
            return bool(ask(f"{self.api}/deployments/name/train/digits", method="GET"))
        return False

    def trigger(self, flow: str, deployment: str) -> float:
        """Seconds from asking for a run until the first line of its flow; it runs to its end."""
        place = ask(f"{self.api}/deployments/name/{flow}/{deployment}", method="GET")["id"]
        asked = time.time()
        run = ask(f"{self.api}/deployments/{place}/create_flow_run", state={"type": "SCHEDULED"})
        while run["state_type"] not in ENDED:
            time.sleep(0.2)
            run = ask(f"{self.api}/flow_runs/{run['id']}", method="GET")
        if run["state_type"] != "COMPLETED":
            raise RuntimeError(f"The run of {deployment} ended as {run['state']}")
        states = ask(f"{self.api}/flow_run_states/?flow_run_id={run['id']}", method="GET")
        running = next(state for state in states if state["type"] == "RUNNING")
        return moment(running["timestamp"]) - asked

    def parts(self) -> dict[str, float]:
        """Mebibytes of each part, by its name, and of the command that keeps them."""
        found = {"roundhouse up": psutil.Process(self.process.pid).memory_info().rss / 2**20}
        for child in psutil.Process(self.process.pid).children():
            words = " ".join(child.cmdline())
            name = next((n for n in ("mlflow", "worker", "prefect") if n in words), words)
            found[name] = memory(child.pid)
        return found

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=SECONDS)


@contextlib.contextmanager
def served(home: Path) -> Iterator[Served]:
    stack = Served(home)
    try:
        yield stack
    finally:
        stack.stop()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except OSError:
        return False


def ask(address: str, method: str = "POST", **body: Any) -> Any:
    data = json.dumps(body).encode() if method == "POST" else None
    request = urllib.request.Request(
        address, data, {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def moment(text: str) -> float:
    """Seconds since 1970 of a time as the API writes it."""
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def deploy_nothing(api: str) -> None:
    """Puts the flow that does nothing on the same worker, as plain Prefect does."""
    flow = ask(f"{api}/flows/", name="nothing")["id"]
    ask(
        f"{api}/deployments/",
        name="bare",
        flow_id=flow,
        entrypoint=f"{HERE / 'bare_flow.py'}:nothing",
        path=str(HERE),
        work_pool_name="local",
        pull_steps=[],
    )


def bench_stack(rounds: int) -> None:
    """Start on a fresh home and on a used one; a click against a bare flow's; memory when idle."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with served(home) as stack:
            tell_start("up, fresh home", stack)
            deploy_nothing(stack.api)
            # the first run trains; those after it find that nothing changed
            for flow, deployment in (("train", "digits"), ("nothing", "bare")):
                stack.trigger(flow, deployment)
            ours, theirs = [], []
            for _ in range(max(rounds, 5)):
                ours.append(stack.trigger("train", "digits"))
                theirs.append(stack.trigger("nothing", "bare"))
            ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
            a, b = statistics.median(ours), statistics.median(theirs)
            print(
                f"{'asked / first line, digits / an empty flow':<44} "
                f"{statistics.median(ratios):5.2f}  ({min(ratios):.2f} to {max(ratios):.2f})  "
                f"goal 1.3    {a:6.2f} s / {b:6.2f} s",
                flush=True,
            )
        with served(home) as stack:
            tell_start("up, used home", stack)
            time.sleep(IDLE_SECONDS)
            parts = stack.parts()
            each = ", ".join(f"{name} {size:.0f}" for name, size in parts.items())
            print(f"{'up, idle':<44} {sum(parts.values()):5.0f} MiB  ({each})", flush=True)


def tell_start(name: str, stack: Served) -> None:
    print(
        f"{name:<44} {stack.seconds:5.1f} s until a worker polls "
        f"({stack.pages_seconds:.1f} s until both pages answer)",
        flush=True,
    )
