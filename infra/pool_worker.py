"""`roundhouse worker`: a worker for a work pool, in the foreground, beside or without a stack."""

import contextlib
import os
import re
import subprocess
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from rich.markup import escape

from infra import worker
from infra.interrupts import at_endings
from infra.pools import require_name
from tasks.errors import ConfigError, ServiceError
from tasks.home import prepare_home
from tasks.remote import shown
from tasks.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console


def serve_pool(settings: Settings, console: "Console", pool: str | None = None) -> None:
    """Takes runs from a work pool until Ctrl-C; what is at work then goes on another time.

    Args:
        settings: Places, and the addresses of both servers.
        console: Where it says what it does, and its runs what they do.
        pool: The work pool; None for the one of the settings.

    Raises:
        ConfigError: A server is not known, the pool has no such name, or the home has its worker.
        ServiceError: The worker ended by itself.
    """
    pool = settings.pool if pool is None else pool
    require_name(pool)
    api = _require_servers(settings)
    prepare_home(settings)
    part = worker.worker_part(settings)
    console.print(f"Polls the pool {escape(pool)} at {shown(api)}. Ctrl-C stops it.")
    with _only_one(settings, pool) as number:
        # in a session of its own: Ctrl-C is for us, and the worker stops its runs in order
        process = subprocess.Popen(
            part.command,
            env={
                **os.environ,
                **part.environment,
                "ROUNDHOUSE_POOL": pool,
                worker.BESIDE: number,
            },
            start_new_session=True,
        )
        try:
            with at_endings(process.terminate):
                code = process.wait()
        finally:
            process.terminate()
    if code:
        raise ServiceError(
            f"The worker ended by itself with {code}; expected it to poll until Ctrl-C. What it "
            "said last, above, says why."
        )


def _require_servers(settings: Settings) -> str:
    """The Prefect API of the stack whose runs are to be taken."""
    api = settings.prefect_api_url
    for name, value in (
        ("ROUNDHOUSE_PREFECT_API_URL", api),
        ("ROUNDHOUSE_TRACKING_URI", settings.tracking_uri),
    ):
        if not value:
            raise ConfigError(
                f"{name} is not set, and no stack serves {settings.home_folder}; expected the "
                "address of the server whose runs this worker takes. Set it, or start "
                "`roundhouse up`."
            )
    return str(api)


@contextlib.contextmanager
def _only_one(settings: Settings, pool: str) -> "Iterator[str]":
    """What tells this worker from the home's others; two of one name would kill each other's runs.

    Raises:
        ConfigError: The home has a worker for the pool.
    """
    name = re.sub(r"\W", "_", pool)
    lock = FileLock(settings.home_folder / f"worker-{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"A `roundhouse worker` of {settings.home_folder} takes the runs of {pool!r} already; "
            "expected one per home. Stop it, or use another home or pool."
        ) from None
    try:
        yield name
    finally:
        lock.release()
