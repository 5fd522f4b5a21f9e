"""`roundhouse up`: both servers, a worker and every deployment, in the foreground until Ctrl-C."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from rich.markup import escape

from infra import answers, databases, preconditions, worker
from infra.interrupts import at_endings
from infra.presence import Stack, drop_record, find_stack, write_record
from infra.servers import Part, mlflow_server, prefect_server
from infra.supervision import Watched, stop_in_order, stop_leftovers
from tasks.home import prepare_home
from tasks.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

LOOK_SECONDS = 0.1
LOGS = {
    "Prefect": "prefect-server.log",
    "MLflow": "mlflow-server.log",
    "Worker": "worker.log",
    "Deployment": "deploy.log",
}
DEPLOY = "from infra.cli import main; import sys; sys.argv = ['roundhouse', 'deploy']; main()"


def serve(settings: Settings, console: "Console") -> None:
    """Serves the home until Ctrl-C; if it is being served already, says where and returns.

    Raises:
        ConfigError: The settings allow no stack, or a port is taken.
        ServiceError: A part does not start.
    """
    began = time.monotonic()
    parts = (prefect_server(settings), mlflow_server(settings))
    prefect, mlflow = parts
    preconditions.require_startable(settings, prefect, mlflow)
    prepare_home(settings)
    own = settings.model_copy(
        update={"prefect_api_url": f"{prefect.address}/api", "tracking_uri": mlflow.address}
    )
    ending = _Ending()
    with at_endings(ending.ask), _home(settings, console, ending) as is_ours:
        if not is_ours:
            return
        stop_leftovers(settings, console.print)
        databases.prepare_databases(settings)
        for part in parts:
            preconditions.require_free(settings, part)
        for sentence in preconditions.warnings(settings):
            console.print(f"[yellow]![/] {escape(sentence)}", soft_wrap=True)
        _Serving(own, console, ending, began).serve(prefect, mlflow)


class _Ending:
    """Whether the user wants it all to end; a flag, as a signal may come at any moment."""

    asked = False

    def ask(self) -> None:
        self.asked = True


class _Serving:
    """The stack while it runs.

    Args:
        settings: Places, and the addresses of the servers that it serves.
        console: Where it says how it goes.
        ending: Whether it is to end.
        began: When the user asked for it, by the monotonic clock.
    """

    def __init__(
        self, settings: Settings, console: "Console", ending: _Ending, began: float
    ) -> None:
        self._settings = settings
        self._console = console
        self._ending = ending
        self._began = began
        self._watched: dict[str, Watched] = {}
        self._greeted: set[str] = set()
        self._serving = False

    def serve(self, *servers: Part) -> None:
        """Starts everything, keeps it running until it is to end, and stops it."""
        try:
            self._record()
            for server in servers:
                self._start(server, partial(answers.server_answers, server.health))
            self._open()
            while self._goes_on():
                pass
            self._say("Stopping.")
        finally:
            stop_in_order(self._watched.values())
            worker.end_flow_runs(self._settings)
            drop_record(self._settings)

    def _open(self) -> None:
        """From servers that were started to a stack that is ready, or until it is to end."""
        if not self._until(self._watched["Prefect"].has_answered):
            return
        deploying = self._deploy()
        part = worker.worker_part(self._settings)
        self._start(part, partial(answers.worker_polls, self._settings))
        try:
            ready = self._until(
                lambda: (
                    deploying.poll() is not None
                    and all(watched.has_answered() for watched in self._watched.values())
                )
            )
        finally:
            if deploying.poll() is None:
                deploying.kill()
                deploying.wait()
        if ready:
            self._show_deployed(deploying.returncode)
            self._say(f"Ready after {self._seconds()}. Ctrl-C stops all of it.")

    def _until(self, reached: Callable[[], bool]) -> bool:
        """Goes on until something is reached; whether it was, and not the end."""
        while goes_on := self._goes_on():
            if reached():
                break
        return goes_on

    def _goes_on(self) -> bool:
        """One look at every part; whether to go on."""
        if self._ending.asked:
            return False
        started = [watched.look() for watched in self._watched.values()]
        for name, watched in self._watched.items():
            watched.keep_log_small()
            if watched.has_answered() and name not in self._greeted:
                self._greet(watched.part)
        was_serving, self._serving = self._serving, self._greeted >= {"Prefect", "MLflow"}
        if any(started) or self._serving != was_serving:
            self._record()
        time.sleep(LOOK_SECONDS)
        return True

    def _start(self, part: Part, well: Callable[[datetime], bool | None]) -> None:
        log = self._settings.log_folder / LOGS[part.name]
        self._watched[part.name] = Watched(part, log, well, self._say)
        self._watched[part.name].start()
        self._record()

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)

    def _greet(self, part: Part) -> None:
        what = f"[link={part.address}]{part.address}[/link]"
        if not part.address:
            count = self._settings.runs_at_once
            runs = "one run" if count == 1 else f"{count} runs"
            what = f"polls the pool {self._settings.pool}, {runs} at once"
        self._say(f"[green]✓[/] {part.name:<8}{what} [dim]({self._seconds()})[/]")
        self._greeted.add(part.name)

    def _seconds(self) -> str:
        return f"{time.monotonic() - self._began:.1f} s"

    def _record(self) -> None:
        parts = {n: w.process for n, w in self._watched.items() if w.process is not None}
        stack = Stack(
            process=os.getpid(),
            prefect=str(self._settings.prefect_api_url).removesuffix("/api"),
            mlflow=str(self._settings.tracking_uri),
            answers=self._serving,
        )
        write_record(self._settings, stack, parts)

    def _deploy(self) -> "subprocess.Popen[bytes]":
        # a process of its own: what it imports would stay in memory for as long as the stack runs
        with (self._settings.log_folder / LOGS["Deployment"]).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-c", DEPLOY],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    **worker.client_environment(self._settings),
                    # its worker goes by the same, whatever the last stack's settings were
                    "ROUNDHOUSE_CRASHED_RUNS": self._settings.crashed_runs,
                    "ROUNDHOUSE_HEARTBEAT_SECONDS": str(self._settings.heartbeat_seconds),
                    "COLUMNS": str(self._console.width),
                },
                start_new_session=True,
            )

    def _show_deployed(self, code: int) -> None:
        log = self._settings.log_folder / LOGS["Deployment"]
        self._console.print(log.read_text(errors="replace").strip(), markup=False, soft_wrap=True)
        if code:
            self._say("[yellow]![/] The rest serves on. When that is mended: `roundhouse deploy`.")


@contextlib.contextmanager
def _home(settings: Settings, console: "Console", ending: _Ending) -> Iterator[bool]:
    """Holds the home's lock while it lasts; not where a stack serves the home, or it is to end."""
    lock = FileLock(settings.home_folder / "run.lock")
    began, said = time.monotonic(), False
    while not ending.asked:
        if stack := find_stack(settings):
            _show_running(stack, console)
            break
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
            break
        if not said and time.monotonic() - began > 1:
            place = escape(str(settings.home_folder))
            console.print(f"A run is at work in {place}; waiting for it to end.", soft_wrap=True)
            said = True
        time.sleep(LOOK_SECONDS)
    try:
        yield lock.is_locked
    finally:
        lock.release()


def _show_running(stack: Stack, console: "Console") -> None:
    doing = "serves" if stack.answers else "is starting to serve"
    console.print(f"`roundhouse up` (process {stack.process}) {doing} this home:")
    for name, address in (("Prefect", stack.prefect), ("MLflow", stack.mlflow)):
        console.print(f"  {name:<8}[link={address}]{address}[/link]", soft_wrap=True)
