"""`roundhouse doctor`: the stack as its users and workers see it, one line for each thing."""

import importlib
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from infra import environment
from infra.examinations import databases, deployments, places, runs, servers
from infra.examinations.findings import (
    MLFLOW_URL,
    PREFECT_URL,
    Examination,
    Finding,
    Stack,
    examined,
    reason,
    show_finding,
)
from tasks.errors import RoundhouseError
from tasks.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

LIBRARIES = (
    "prefect.client.orchestration", "mlflow.tracking", "httpx", "websockets.sync.client",
    "alembic.script",
)  # fmt: skip
# what one examination may take; the probe's run waits for a worker and for its turn
LOOK_SECONDS, RUNS_SECONDS = 30.0, runs.RUN_SECONDS + 20
JOBS_SECONDS = runs.JOB_SECONDS + 20


@dataclass(frozen=True)
class Look:
    """One examination.

    Args:
        what: What is looked at.
        examine: Looks at it; it may find nothing to say.
        needs: Servers that have to answer before there is anything to see.
        seconds: How long it may take.
    """

    what: str
    examine: Examination
    needs: frozenset[str] = frozenset()
    seconds: float = LOOK_SECONDS


PREFECT, MLFLOW = frozenset({"Prefect"}), frozenset({"MLflow"})
ANSWERS = (Look("Prefect", servers.prefect_answers), Look("MLflow", servers.mlflow_answers))
LOOKS = (
    Look("Prefect pages", servers.pages, PREFECT),
    Look("websocket", servers.websocket, PREFECT),
    Look("Prefect version", servers.prefect_version, PREFECT),
    Look("MLflow version", servers.mlflow_version, MLFLOW),
    Look("MLflow's host check", servers.hosts, MLFLOW),
    Look("Prefect database", databases.prefect_database, PREFECT),
    Look("MLflow database", databases.mlflow_database, MLFLOW),
    Look("clocks", servers.clocks),
    Look("storage", places.storage),
    Look("artefacts", places.artifacts, MLFLOW),
    Look("disk", places.disks),
    Look("deployments", deployments.deployed, PREFECT),
    Look("worker", deployments.workers, PREFECT),
    Look("schedules", deployments.schedules, PREFECT),
    Look("automations", deployments.automations, PREFECT),
    Look("runs", runs.runs, PREFECT | MLFLOW, RUNS_SECONDS),
)


def examine(
    settings: Settings,
    console: "Console",
    found: Sequence[Finding] = (),
    *,
    in_cluster: bool = False,
) -> bool:
    """Looks at the stack and shows what it found, line by line.

    Args:
        settings: Places and addresses, those of a running stack included.
        console: Where it is shown.
        found: What was found elsewhere, which is shown first.
        in_cluster: Whether runs are Jobs of a cluster.

    Returns:
        Whether there is nothing to mend.
    """
    for finding in found:
        show_finding(console, finding)
    if not settings.prefect_api_url:
        cure = f"start `roundhouse up`, or set {PREFECT_URL} and {MLFLOW_URL} to servers that run"
        show_finding(console, Finding("stack", f"none is up on {settings.home_folder}", cure))
        return False
    environment.apply(environment.environment(settings, settings.prefect_api_url))
    _import_libraries()
    # how a library tries again is of no interest beside the line that says that it failed
    logging.disable(logging.ERROR)
    stack = replace(examined(settings), in_cluster=in_cluster)
    return look_at(stack, console, sum(not finding.is_well for finding in found))


def look_at(stack: Stack, console: "Console", wrong: int = 0) -> bool:
    """Looks at a stack from all sides at once, and shows what it found in order.

    Args:
        stack: The servers, and how to ask them.
        console: Where it is shown.
        wrong: How much there is to mend elsewhere.

    Returns:
        Whether there is nothing to mend.
    """
    # no `with`, which would wait for what hangs
    pool = ThreadPoolExecutor(max_workers=len(ANSWERS + LOOKS))
    well: set[str] = set()
    unseen = []
    for looks in (ANSWERS, LOOKS):
        waiting = [(look, _begun(pool, look, stack, well)) for look in looks]
        began = time.monotonic()
        for look, future in waiting:
            seconds = _longest(look, stack)
            found = _findings(look, future, seconds, seconds - (time.monotonic() - began))
            for finding in found:
                show_finding(console, finding)
            problems = sum(not finding.is_well for finding in found)
            wrong += problems
            if not found:
                unseen.append(look.what)
            elif not problems:
                well.add(look.what)
    pool.shutdown(wait=False, cancel_futures=True)
    if unseen:
        said = f"Not looked at before that is mended: {', '.join(unseen)}."
        console.print(said, soft_wrap=True)
    console.print(f"{wrong} to mend." if wrong else "All is well.")
    return not wrong


def _begun(
    pool: ThreadPoolExecutor, look: Look, stack: Stack, well: set[str]
) -> "Future[list[Finding]] | None":
    return pool.submit(look.examine, stack) if look.needs <= well else None


def _longest(look: Look, stack: Stack) -> float:
    return JOBS_SECONDS if stack.in_cluster and look.examine is runs.runs else look.seconds


def _findings(
    look: Look, future: "Future[list[Finding]] | None", longest: float, seconds: float
) -> list[Finding]:
    """What an examination found, or that it could not; one that fails stops none of the others."""
    if future is None:
        return []
    try:
        return future.result(timeout=max(seconds, 0.0))
    except TimeoutError:
        fact = f"not known after {longest:g} s"
        return [Finding(look.what, fact, "see whether machine and network are overloaded")]
    except RoundhouseError as error:
        fact, _, cure = str(error).partition(". ")
        return [Finding(look.what, fact, cure.rstrip(".") or "mend that")]
    except Exception as error:  # of whatever a library meets at a stack that is ill
        fact = f"could not be looked at: {type(error).__name__}: {reason(error)}"
        return [Finding(look.what, fact, "mend what else is wrong, and look again")]


def _import_libraries() -> None:
    """Imports in one thread what several would import at once."""
    for name in LIBRARIES:
        importlib.import_module(name)
