"""Runs a pipeline from the command line: the server, the flow, what is shown and what is logged."""

import contextlib
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock, Timeout

from infra import access, databases, environment
from infra.embedded import EmbeddedServer
from infra.interrupts import orderly_interrupts
from infra.presence import joined
from infra.supervision import stop_leftovers
from tasks.config import PipelineConfig
from tasks.devices import require_backend
from tasks.errors import RoundhouseError
from tasks.home import prepare_home
from tasks.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from tasks.summary import Summary

# what every run imports sooner or later, in that order; most of a short run is spent on it
NEEDED_LATER = (
    "mlflow.tracking",
    "mlflow.store.tracking.sqlalchemy_store",
    "pyarrow.parquet",
    "keras",
    "great_expectations",
    "sklearn.linear_model",
    "matplotlib.figure",
)
# a stack that is started meanwhile holds the same lock, and is joined
WAIT_SECONDS = 0.5
# as often as any setting of the server's can expect
SECONDS_BETWEEN_SIGNS_OF_LIFE = 30
R = TypeVar("R")
logger = logging.getLogger(__name__)


class RunEnded(Exception):
    """A run did not come to its end: its cause is the error, its log the file with all of it."""

    def __init__(self, log: Path) -> None:
        super().__init__(str(log))
        self.log = log


def run_pipeline(
    config: PipelineConfig, settings: Settings, console: "Console", *, force: bool = False
) -> None:
    """Runs a pipeline in this process and shows how it goes.

    Args:
        config: The pipeline's configuration.
        settings: Places and addresses.
        console: Where it is shown.
        force: Train although nothing changed.

    Raises:
        RoundhouseError: The run could not start, for a reason that we can explain.
        RunEnded: The run started and failed.
    """
    started = time.perf_counter()
    require_backend()
    prepare_home(settings)
    environment.apply(environment.credentials(settings))
    with orderly_interrupts(), alone(config.pipeline, settings, console) as found:
        _run_alone(config, found, console, started, force=force)


def _run_alone(
    config: PipelineConfig,
    settings: Settings,
    console: "Console",
    started: float,
    *,
    force: bool,
) -> None:
    if not force and (sentence := up_to_date(config, settings)):
        console.print(f"[bold]{config.pipeline}[/] is {sentence}", soft_wrap=True)
        return
    databases.prepare_databases(settings)
    with prefect_api(settings) as server, log_file(settings, config.pipeline) as log:
        from infra.display import StageDisplay, show_summary

        console.print(f"[bold]{config.pipeline}[/]: {config.ingestion.dataset}")
        with StageDisplay(console):
            summary = run_flow(config, server, force=force)
        seconds = time.perf_counter() - started
        show_summary(console, summary, seconds, str(log), served=server is None)


@contextlib.contextmanager
def alone(pipeline: str, settings: Settings, console: "Console") -> Iterator[Settings]:
    """While it lasts, no other command runs this pipeline, nor anything on the home's databases.

    Args:
        pipeline: Name of the pipeline.
        settings: Places and addresses; with servers of their own, other pipelines may run beside.
        console: Where it says that it waits.

    Yields:
        The settings to run with: of a stack that was started while this waited, its addresses.
    """
    said = False
    while True:
        settings = joined(settings)
        served = settings.tracking_uri and settings.prefect_api_url
        lock = FileLock(settings.home_folder / (f"{pipeline}.lock" if served else "run.lock"))
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=WAIT_SECONDS)
            break
        if not said:
            place = settings.home_folder
            console.print(
                f"Another run is at work in {place}; waiting for it to end.", soft_wrap=True
            )
            said = True
    try:
        if not served:
            stop_leftovers(settings, console.print)
        yield settings
    finally:
        lock.release()


def up_to_date(config: PipelineConfig, settings: Settings) -> str:
    """Why there is nothing to do; empty where there is something.

    It only looks: no server is started and nothing is written. What goes wrong here goes wrong
    again in the run, where it is recorded.
    """
    if settings.tracking_uri is None and not (settings.home_folder / "mlflow.db").is_file():
        return ""
    from tasks import tracking
    from tasks.freshness import find_standing, locate_source

    try:
        tracking.require_answer(settings.mlflow_uri, settings.timeout_seconds)
        standing = find_standing(config, locate_source(config, settings), settings.mlflow_uri)
    except RoundhouseError:
        return ""
    return standing.sentence if standing.up_to_date else ""


@contextlib.contextmanager
def prefect_api(settings: Settings) -> Iterator[EmbeddedServer | None]:
    """While it lasts, this process knows a Prefect API: the settings' own, or an embedded one."""
    if settings.prefect_api_url:
        environment.apply(environment.environment(settings, settings.prefect_api_url))
        access.require_prefect(settings.prefect_api_url, settings.timeout_seconds)
        yield None
        return
    server = EmbeddedServer(
        {**environment.environment(settings), **environment.EMBEDDED},
        settings.log_folder / "prefect-server.log",
    )
    environment.apply(environment.environment(settings, server.api_url))
    with server:
        server.start()
        yield server


def run_flow(config: PipelineConfig, server: EmbeddedServer | None, *, force: bool) -> "Summary":
    """Runs the training flow in this process and returns what it came to."""
    from flows.training import train

    parameters = {name: getattr(config, name) for name in type(config).model_fields}
    summary: Summary = called(lambda: train(**parameters, force=force), config.pipeline, server)
    return summary


def called(flow: Callable[[], R], name: str, server: EmbeddedServer | None) -> R:
    """What a flow comes to that is run in this process.

    Args:
        flow: Runs it; its stages are imported by then.
        name: Name of the pipeline, by which a stack's automations know the run.
        server: The embedded server; None where the run is on another, which outlives it.
    """
    from prefect import tags
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from infra.automations import TAG
    from tasks import prover, turns

    if server is not None:
        server.import_meanwhile(NEEDED_LATER)
        server.wait()
    # a heartbeat tells a server that outlives the run; its thread would delay the end by a second
    heartbeat = SECONDS_BETWEEN_SIGNS_OF_LIFE if server is None else None
    with (
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: heartbeat}),
        # by its tag a stack's automations know the run, and find it when its process is gone
        turns.held() if server is not None else tags(TAG, name),
    ):
        try:
            return flow()
        finally:
            prover.close()
            # what is still to be sent must arrive before the embedded server ends
            APILogWorker.drain_all(timeout=5)
            EventsWorker.drain_all()


@contextlib.contextmanager
def log_file(settings: Settings, name: str) -> Iterator[Path]:
    """While it lasts, all that is logged goes to a file; its path is given.

    Raises:
        RunEnded: For any error inside, after it was logged with its traceback.
    """
    # Prefect configures logging when it is imported, and drops the handlers that it finds
    from prefect.logging.configuration import setup_logging

    setup_logging()
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    path = settings.log_folder / f"{stamp}-{name}-{uuid.uuid4().hex[:6]}.log"
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with libraries_print_to(path):
            yield path
    except BaseException as error:
        logger.exception("The run ended with an error")
        raise RunEnded(path) from error
    finally:
        root.removeHandler(handler)
        handler.close()


@contextlib.contextmanager
def libraries_print_to(path: Path) -> Iterator[None]:
    """While it lasts, standard error goes to a file: TensorFlow's C++ heeds no setting."""
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
