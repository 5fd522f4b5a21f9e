"""What a night can bring: many triggers at once, and parts of the stack that are killed."""

import re
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

# what SQLite and those who use it say when two write at once for too long
LOCKED = re.compile(r"database is locked|SQLITE_BUSY|database table is locked", re.IGNORECASE)
TRIGGERS = 20
LONG = {"epochs": 250, "patience": 0, "learning_rate": 0.005}
PARTS = {"Prefect": "infra.prefect_process", "MLflow": "infra.mlflow_process", "Worker": "worker"}


@pytest.fixture(scope="module")
def busy(stack_at: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A stack whose parts are killed, with two runs at once."""
    home = tmp_path_factory.mktemp("busy") / "home"
    return stack_at(home, ROUNDHOUSE_RUNS_AT_ONCE="2")


def logs(home: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in (home / "logs").iterdir())


def is_training(stack: Any) -> bool:
    """Whether a run of digits has some epochs behind it and more before it."""
    found = [run for run in stack.command.runs("digits") if run.info.status == "RUNNING"]
    history = [stack.command.client.get_metric_history(r.info.run_id, "loss") for r in found]
    return any(len(points) > 5 for points in history)


def restarted(stack: Any, name: str, process: int) -> bool:
    """Whether a part has another process than before, which answers where it has an address."""
    try:
        if part(stack, name).pid == process:
            return False
        if name != "Worker":
            address = {"Prefect": f"{stack.prefect}/api/health", "MLflow": f"{stack.mlflow}/health"}
            urllib.request.urlopen(address[name], timeout=2).close()
    except (StopIteration, OSError, psutil.Error):
        return False
    return True


def part(stack: Any, name: str) -> psutil.Process:
    """The process of a part of the stack."""
    children = psutil.Process(stack.process.pid).children()
    return next(p for p in children if any(PARTS[name] in word for word in p.cmdline()))


def wait_until(reached: Callable[[], Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.2)


def test_twenty_triggers_at_once_train_once_and_lose_none(busy: Any) -> None:
    numbers = [busy.trigger("digits") for _ in range(TRIGGERS)]
    ended = [busy.ended(number, 600) for number in numbers]
    assert {run["state_type"] for run in ended} == {"COMPLETED"}
    names = sorted(run["name"] for run in ended)
    assert names == ["digits: first training"] + ["digits: nothing changed"] * (TRIGGERS - 1)
    assert busy.command.registry() == [("digits", 1, {"challenger": 1, "champion": 1})]
    assert len(busy.command.runs("digits")) == 1
    assert not LOCKED.search(logs(busy.command.home))


@pytest.mark.parametrize(("killed", "width"), [("Prefect", 16), ("MLflow", 24), ("Worker", 40)])
def test_a_run_survives_that_a_part_is_killed(busy: Any, killed: str, width: int) -> None:
    versions = len(busy.command.registry())
    number = busy.trigger(
        "digits", model={"architecture": "mlp", "hidden_units": [width]}, training=LONG
    )
    wait_until(lambda: is_training(busy))
    victim = part(busy, killed)
    victim.send_signal(signal.SIGKILL)
    wait_until(lambda: restarted(busy, killed, victim.pid))
    assert busy.ended(number, 240)["state_type"] == "COMPLETED"
    assert len(busy.command.registry()) == versions + 1
    assert {run.info.status for run in busy.command.runs("digits")} == {"FINISHED"}
    assert not LOCKED.search(logs(busy.command.home))
