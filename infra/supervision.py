"""Keeps the parts of the stack running: started, watched, restarted ever more slowly, stopped."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.markup import escape

from infra.presence import drop_record, find_process, read_record
from infra.servers import Part
from tasks.errors import ServiceError
from tasks.settings import Settings

LOG_BYTES = 20 * 2**20
STOP_SECONDS = 15.0
# the part that starts runs ends first, and tells the others' last news to servers that still answer
ORDER = ("Worker", "Prefect", "MLflow")


@dataclass(frozen=True)
class Patience:
    """How long a part is waited for, in seconds.

    Args:
        start: Until it answers for the first time.
        silence: Without an answer until it counts as hung.
        restart: Before it is started again; twice as long each time that it does not last.
        longest_restart: The longest of these pauses.
        steady: A life after which the pauses begin anew.
    """

    start: float = 120.0
    silence: float = 60.0
    restart: float = 2.0
    longest_restart: float = 60.0
    steady: float = 60.0


@dataclass
class _Life:
    """One process of a part, from its start to its end."""

    process: "subprocess.Popen[bytes]"
    began: float = field(default_factory=time.monotonic)
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    answered: bool = False
    silence: float = 0.0


class Watched:
    """A part that is kept running.

    Args:
        part: What to start, and how.
        log: File for all that it prints.
        answers: Whether the process that was started at a time is well; None where nobody can tell.
        say: Shows a line to the user.
        patience: How long it is waited for.
    """

    def __init__(
        self,
        part: Part,
        log: Path,
        answers: Callable[[datetime], bool | None],
        say: Callable[[str], None],
        patience: Patience | None = None,
    ) -> None:
        self.part = part
        self.log = log
        self._answers = answers
        self._say = say
        self._patience = patience or Patience()
        self._life: _Life | None = None
        self._was_well = False
        self._restarts = 0
        self._due = 0.0
        self._greeted: _Life | None = None
        self._stopping = threading.Event()

    @property
    def process(self) -> int | None:
        """Its process number; None while it does not run."""
        return self._life.process.pid if self._life else None

    def has_answered(self) -> bool:
        """Whether any of its processes has answered."""
        return self._was_well

    def start(self) -> None:
        """Starts the process, and on the first time the thread that asks how it is."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.part.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.part.environment},
                # Ctrl-C reaches us alone, and we stop the parts in order
                start_new_session=True,
            )
        is_first = self._life is None and not self._restarts
        self._life = _Life(process)
        if is_first:
            threading.Thread(target=self._ask, daemon=True).start()

    def look(self) -> bool:
        """Acts on what has happened since the last look.

        Returns:
            Whether a process was started anew.

        Raises:
            ServiceError: It ended, or stayed silent, before it ever answered.
        """
        life = self._life
        if life is None:
            if time.monotonic() < self._due:
                return False
            self.start()
            return True
        if (code := life.process.poll()) is not None:
            self._mend(life, f"ended ({_said(code)})")
        elif life.silence > (self._patience.silence if life.answered else self._patience.start):
            self._mend(life, f"has not answered for {life.silence:.0f} s, and was killed")
        elif life.answered:
            self._greet()
        return False

    def keep_log_small(self) -> None:
        """Moves the log aside once it is large; the process goes on writing to the same file."""
        if self.log.stat().st_size > LOG_BYTES:
            shutil.copyfile(self.log, self.log.with_name(f"{self.log.name}.1"))
            os.truncate(self.log, 0)

    def ask_to_stop(self) -> None:
        """Asks the process to end; it is not started again."""
        self._stopping.set()
        if self._life:
            self._life.process.terminate()

    def stop(self) -> None:
        """Waits for the process that was asked to end, and ends what is left by force."""
        self.ask_to_stop()
        if self._life:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._life.process.wait(timeout=STOP_SECONDS)
            _kill(self._life.process)
            self._life = None

    def _mend(self, life: _Life, what: str) -> None:
        _kill(life.process)
        if not self._was_well:
            self._life = None
            raise ServiceError(
                f"{self.part.name} {what} before it ever answered; expected it to start. What it "
                f"printed is in {self.log}."
            )
        lasted = time.monotonic() - life.began > self._patience.steady
        self._restarts = 1 if lasted else self._restarts + 1
        pause = self._patience.restart * 2 ** (self._restarts - 1)
        pause = min(pause, self._patience.longest_restart)
        self._due, self._life = time.monotonic() + pause, None
        self._say(
            f"[yellow]![/] {self.part.name} {what}; starting it again in {pause:g} s. "
            f"Its log: {escape(str(self.log))}"
        )

    def _greet(self) -> None:
        if self._was_well and self._greeted is not self._life:
            self._say(f"[green]✓[/] {self.part.name} answers again.")
        self._was_well, self._greeted = True, self._life

    def _ask(self) -> None:
        """Asks again and again how the process is; runs in a thread, as a hung one lets us wait."""
        while not self._stopping.is_set():
            life, asked = self._life, time.monotonic()
            well = self._answers(life.since) if life else None
            pause = 2.0 if life and life.answered else 0.2
            self._stopping.wait(pause)
            if life and well:
                life.answered, life.silence = True, 0.0
            elif life and well is False:
                # counted try by try: while the machine sleeps, nobody is silent
                life.silence += min(time.monotonic() - asked, 10.0)


def stop_in_order(parts: Iterable[Watched]) -> None:
    """Stops the worker, then the servers side by side."""
    found = sorted(parts, key=lambda watched: ORDER.index(watched.part.name))
    for watched in found:
        if watched.part.name == ORDER[0]:
            watched.stop()
    for watched in found:
        watched.ask_to_stop()
    for watched in found:
        watched.stop()


def stop_leftovers(settings: Settings, say: Callable[[str], None]) -> None:
    """Stops the parts of a stack whose `roundhouse up` was killed, and says so.

    Only to be called by who holds the home's lock: then the record is of no living stack.
    """
    described = read_record(settings).get("parts", {})
    found = {name: find_process(described[name]) for name in ORDER if name in described}
    left = {name: process for name, process in found.items() if process}
    if left:
        say(f"[yellow]![/] Stopping what a killed `roundhouse up` left: {', '.join(left)}.")
    for process in left.values():
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
        psutil.wait_procs([process], timeout=STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    drop_record(settings)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process and whatever it started; each part has a session of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _said(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"with code {code}"
