"""A Prefect server for the length of one run: a process that never outlives its parent.

The parent opens the listening socket and hands it over, so that there is no port to guess and a
client that asks early just waits; the server ends when its standard input is closed.
"""

import contextlib
import importlib
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from infra.prefect_process import take_turns_at_writing
from tasks.errors import ServiceError

STARTUP_SECONDS = 120.0


class EmbeddedServer:
    """The server as its parent sees it; a context manager that stops it.

    Args:
        environment: What the server's process finds in its environment besides ours.
        log: File for all that the server prints.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(128)
        self.api_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/api"

    def start(self) -> None:
        """Starts the process and returns at once; `wait` tells when it answers."""
        handle = self._socket.fileno()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "infra.embedded", str(handle)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                pass_fds=(handle,),
                # Ctrl-C in a terminal reaches us alone: how the run ended is still to be told
                start_new_session=True,
            )
        # from here on the socket is the server's alone, so a dead server refuses connections
        self._socket.close()

    def import_meanwhile(self, modules: Iterable[str]) -> None:
        """Imports modules, in their order, for as long as the server does not answer yet.

        Args:
            modules: What will be needed in any case; the server starts on another core.
        """
        is_up = threading.Event()

        def listen() -> None:
            with contextlib.suppress(ServiceError):
                self.wait()
            is_up.set()

        threading.Thread(target=listen, daemon=True).start()
        for module in modules:
            if is_up.is_set():
                return
            importlib.import_module(module)

    def wait(self) -> None:
        """Returns when the server answers.

        Raises:
            ServiceError: It ended, or does not answer in time.
        """
        try:
            with urllib.request.urlopen(f"{self.api_url}/health", timeout=STARTUP_SECONDS):
                return
        except (urllib.error.URLError, OSError) as error:
            raise ServiceError(
                f"The embedded Prefect server did not start ({error}); expected an answer within "
                f"{STARTUP_SECONDS:g} s. What it printed is in {self._log}; to use a server of "
                "your own, set ROUNDHOUSE_PREFECT_API_URL."
            ) from error

    def stop(self) -> None:
        """Stops the server; it gets ten seconds to finish what it is doing."""
        self._socket.close()
        if self._process is None:
            return
        if self._process.stdin:
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
            return
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> "EmbeddedServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def serve(handle: int) -> None:
    """Serves the Prefect API on an open listening socket until standard input is closed.

    Args:
        handle: The socket's file descriptor.
    """
    import uvicorn
    from prefect.server.api.server import create_app

    take_turns_at_writing()
    config = uvicorn.Config(
        create_app(ephemeral=True, final=True), log_level="warning", timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)

    def watch_parent() -> None:
        sys.stdin.buffer.read()
        server.should_exit = True

    threading.Thread(target=watch_parent, daemon=True).start()
    server.run(sockets=[socket.socket(fileno=handle)])


if __name__ == "__main__":
    serve(int(sys.argv[1]))
    # the server has shut down in order; taking the interpreter apart would last a second more
    os._exit(0)
