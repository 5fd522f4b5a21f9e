"""What a night can bring: many triggers at once, and parts of the stack that are killed."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# what SQLite and those who use it say when two write at once for too long
LOCKED = re.compile(r"database is locked|SQLITE_BUSY|database table is locked", re.IGNORECASE)
LOGS = {"MLflow": "mlflow-server", "Prefect": "prefect-server", "Worker": "worker"}


@pytest.fixture(scope="module")
def busy(stack_at: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A stack whose worker has two runs at once."""
    home = tmp_path_factory.mktemp("busy") / "home"
    return stack_at(home, ROUNDHOUSE_RUNS_AT_ONCE="2")


def wait_until(reached: Callable[[], Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.2)


def is_training(stack: Any) -> bool:
    """Whether a run of digits has some epochs behind it and more before it."""
    found = [run for run in stack.command.runs("digits") if run.info.status == "RUNNING"]
    history = [stack.command.client.get_metric_history(r.info.run_id, "loss") for r in found]
    return any(len(points) > 5 for points in history)


@pytest.mark.parametrize("triggers", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_many_triggers_at_once_train_once_and_lose_none(
    triggers: int, stack_at: Callable[..., Any], tmp_path: Path
) -> None:
    busy = stack_at(tmp_path / "home", ROUNDHOUSE_RUNS_AT_ONCE="2")
    numbers = [busy.trigger("digits") for _ in range(triggers)]
    ended = [busy.ended(number, 600) for number in numbers]
    assert {run["state_type"] for run in ended} == {"COMPLETED"}
    names = sorted(run["name"] for run in ended)
    assert names == ["digits: first training"] + ["digits: nothing changed"] * (triggers - 1)
    assert busy.command.registry() == [("digits", 1, {"challenger": 1, "champion": 1})]
    assert len(busy.command.runs("digits")) == 1
    assert not LOCKED.search(busy.logs())
    busy.stop()


@pytest.mark.slow
def test_a_run_survives_that_each_part_is_killed(busy: Any) -> None:
    number = busy.trigger("digits", training={"epochs": 400, "patience": 0})
    for name, file in LOGS.items():
        wait_until(lambda: is_training(busy))
        busy.part(name).kill()
        log = busy.home / "logs" / f"{file}.log"
        busy.wait_for(
            f"! {name} ended (killed by signal 9); starting it again in 2 s. Its log: {log}\n"
        )
        busy.wait_for(f"✓ {name} answers again.\n")
    assert busy.ended(number)["state_type"] == "COMPLETED"
    assert busy.command.registry() == [("digits", 1, {"challenger": 1, "champion": 1})]
    assert [run.info.status for run in busy.command.runs("digits")] == ["FINISHED"]
    assert not LOCKED.search(busy.logs())
