"""A process and all that it has started, which end together, as those of a container do."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

LOOK_SECONDS = 0.5


class ProcessTree:
    """A running process, with whatever it starts.

    Args:
        command: What is run.
        environment: All of its variables.
        folder: The folder that it works in.
        log: The file that its output is added to.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
    ) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=environment, cwd=folder, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        # kept, since what is left of a dead process cannot be found from it any more
        self._below: set[psutil.Process] = set()
        self._looked = 0.0

    def code(self) -> int | None:
        """Its exit code, 128 and the signal's number after a signal; None while it runs."""
        code = self._process.poll()
        self._look()
        return 128 - code if code is not None and code < 0 else code

    def memory(self) -> int:
        """Bytes of memory that all of it holds."""
        total = 0
        with contextlib.suppress(psutil.Error):
            total = psutil.Process(self._process.pid).memory_info().rss
        for each in self._below:
            with contextlib.suppress(psutil.Error):
                total += each.memory_info().rss
        return total

    def terminate(self) -> None:
        """Asks the process, not what it started, to end."""
        self._process.terminate()

    def kill(self) -> int:
        """Ends all of it at once; its exit code, also where it had ended before."""
        self._look(now=True)
        self._process.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for each in self._below:
            with contextlib.suppress(psutil.Error):
                each.kill()
        self._process.wait()
        code = self.code()
        return 0 if code is None else code

    def _look(self, *, now: bool = False) -> None:
        if now or time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            with contextlib.suppress(psutil.Error):
                found = psutil.Process(self._process.pid).children(recursive=True)
                self._below = self._below | set(found)
