"""Parts that die, hang, or never start: small programs in the place of servers."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra import supervision
from infra.presence import Stack, read_record, write_record
from infra.servers import Part
from infra.supervision import Patience, Watched, stop_in_order, stop_leftovers
from tasks.errors import ServiceError
from tasks.settings import Settings

PATIENCE = Patience(start=2.0, silence=0.5, restart=0.1, longest_restart=0.4, steady=5.0)
LASTS = "import time; print('up', flush=True); time.sleep(60)"


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts a program as a part; what was said is `.said`, whether it is well `.well`."""
    started = []

    def start(code: str, name: str = "MLflow", *, well: bool = True) -> Any:
        part = Part(name, (sys.executable, "-c", code), {})
        said: list[str] = []

        def answers(since: datetime) -> bool | None:
            well: bool | None = watched.well  # type: ignore[attr-defined]
            return well

        watched: Any = Watched(part, tmp_path / f"{name}.log", answers, said.append, PATIENCE)
        watched.said, watched.well = said, well
        started.append(watched)
        watched.start()
        return watched

    yield start
    stop_in_order(started)


def look_until(watched: Any, reached: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not reached() and time.monotonic() < deadline:
        watched.look()
        time.sleep(0.02)
    assert reached(), watched.said


def test_a_part_that_is_killed_starts_again_and_both_is_said(watch: Any) -> None:
    watched = watch(LASTS)
    look_until(watched, watched.has_answered)
    first = watched.process
    psutil.Process(first).kill()
    look_until(watched, lambda: len(watched.said) == 2)
    assert watched.said == [
        "[yellow]![/] MLflow ended (killed by signal 9); starting it again in 0.1 s. "
        f"Its log: {watched.log}",
        "[green]✓[/] MLflow answers again.",
    ]
    assert watched.process != first
    assert watched.log.read_text() == "up\nup\n"


def test_what_a_killed_part_had_started_is_gone_before_it_starts_again(watch: Any) -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LASTS!r}])"
    watched = watch(child)
    look_until(watched, lambda: watched.has_answered() and watched.log.read_text() == "up\n")
    (grandchild,) = psutil.Process(watched.process).children()
    psutil.Process(watched.process).kill()
    look_until(watched, lambda: bool(watched.said))
    assert psutil.wait_procs([grandchild], timeout=5)[1] == []


def test_a_part_that_dies_again_and_again_is_started_ever_more_slowly(watch: Any) -> None:
    watched = watch("import time; time.sleep(0.5)")
    look_until(watched, lambda: len(watched.said) >= 8, seconds=20)
    pauses = [line.split(" in ")[1].split(" s.")[0] for line in watched.said if "!" in line]
    assert pauses[:4] == ["0.1", "0.2", "0.4", "0.4"]
    assert "ended (with code 0)" in watched.said[0]


def test_a_part_that_hangs_is_killed_and_started_again(watch: Any) -> None:
    watched = watch(LASTS)
    look_until(watched, watched.has_answered)
    watched.well, hung = False, watched.process
    look_until(watched, lambda: bool(watched.said))
    assert not psutil.pid_exists(hung)
    assert "MLflow has not answered for " in watched.said[0]
    assert "s, and was killed; starting it again in 0.1 s." in watched.said[0]


def test_a_part_of_which_nobody_can_tell_is_left_alone(watch: Any) -> None:
    watched = watch(LASTS)
    look_until(watched, watched.has_answered)
    watched.well, process = None, watched.process
    deadline = time.monotonic() + 4 * PATIENCE.silence
    while time.monotonic() < deadline:
        watched.look()
        time.sleep(0.05)
    assert (watched.said, watched.process) == ([], process)


def test_a_part_that_never_starts_is_an_error_with_its_log(watch: Any) -> None:
    watched = watch("raise SystemExit(3)", well=False)
    expected = rf"MLflow ended \(with code 3\) before it ever answered; .* is in {watched.log}\.$"
    with pytest.raises(ServiceError, match=expected):
        look_until(watched, lambda: False)


def test_a_part_that_never_answers_is_an_error_and_killed(watch: Any) -> None:
    watched = watch(LASTS, well=False)
    process = watched.process
    with pytest.raises(ServiceError, match=r"has not answered for \d s, and was killed before"):
        look_until(watched, lambda: False)
    assert not psutil.pid_exists(process)


def test_the_worker_is_stopped_before_the_servers(watch: Any, tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(0.5 * (NAME == 'Worker'))\n"
        f"    open({str(tmp_path / 'order')!r}, 'a').write(NAME + '\\n'); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(60)"
    )
    names = ("MLflow", "Worker")
    parts = [watch(code.replace("NAME", repr(name)), name) for name in names]
    for part in parts:
        look_until(part, lambda part=part: part.log.read_text() == "up\n")  # type: ignore[misc]
    stop_in_order(parts)
    assert (tmp_path / "order").read_text().split() == ["Worker", "MLflow"]


def test_a_log_that_grew_large_is_moved_aside(watch: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(supervision, "LOG_BYTES", 100)
    code = "import time\nwhile True: print('line', flush=True); time.sleep(0.02)"
    watched = watch(code)
    look_until(watched, lambda: watched.log.stat().st_size > 1000)
    watched.keep_log_small()
    assert watched.log.with_name("MLflow.log.1").stat().st_size > 1000
    assert watched.log.stat().st_size < 1000
    look_until(watched, lambda: "line\n" in watched.log.read_text())


def test_leftovers_of_a_killed_stack_are_stopped_and_named(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    commands = (sys.executable, "-c", LASTS)
    part, up = (subprocess.Popen(commands, start_new_session=True) for _ in range(2))
    write_record(settings, Stack(up.pid, "http://a", "http://b"), {"MLflow": part.pid})
    up.kill()
    up.wait()
    said: list[str] = []
    stop_leftovers(settings, said.append)
    assert said == ["[yellow]![/] Stopping what a killed `roundhouse up` left: MLflow."]
    assert not psutil.pid_exists(part.pid)
    assert read_record(settings) == {}
