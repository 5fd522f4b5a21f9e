"""Which process a run belongs to, by its tags, and whether that is still at work on it."""

import os
import socket
from collections.abc import Mapping
from typing import Any

PROCESS_TAG, FLOW_RUN_TAG = "roundhouse.process", "roundhouse.prefect_flow_run"


def this_process() -> str:
    """Where this process can be found: its host and its number."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_alive(process: str) -> bool:
    """Whether another process than this one, as `this_process` names it, is still there."""
    host, _, number = process.rpartition(":")
    if host != socket.gethostname() or not number.isdigit():
        # on another machine nobody here can tell; leave it alone
        return bool(process)
    import psutil

    return psutil.pid_exists(int(number)) and int(number) != os.getpid()


def is_at_work(tags: Mapping[str, str], own: Mapping[str, str]) -> bool:
    """Whether another run's process may still be there; that of an earlier attempt is not.

    Args:
        tags: Of the other run.
        own: Of this one; the attempts of one Prefect flow run, of which one works at a time, may be
            on several machines.
    """
    flow_run = own.get(FLOW_RUN_TAG)
    is_attempt = flow_run is not None and flow_run == tags.get(FLOW_RUN_TAG)
    return is_alive(tags.get(PROCESS_TAG, "")) and not is_attempt


def left_behind(service: Any, experiment_id: str, own: Mapping[str, str]) -> list[Any]:
    """The MLflow runs that may be gone on with, or that nobody has closed.

    Args:
        service: A client of MLflow.
        experiment_id: Where they are.
        own: Tags of the run that asks. An earlier attempt of its Prefect run that was told to end,
            as when its pod is evicted, has closed its own in good order.
    """
    found = list(service.search_runs([experiment_id], "attributes.status = 'RUNNING'"))
    if flow_run := own.get(FLOW_RUN_TAG):
        told = f"attributes.status = 'KILLED' AND tags.`{FLOW_RUN_TAG}` = '{flow_run}'"
        found += service.search_runs([experiment_id], told)
    return found


def take_over(service: Any, run: Any, own: Mapping[str, str], outdated: tuple[str, ...]) -> None:
    """Makes an MLflow run this process's, and open again.

    Args:
        service: A client of MLflow.
        run: The run.
        own: Tags of this process's run.
        outdated: Tags that say how it ended.
    """
    for key, value in own.items():
        service.set_tag(run.info.run_id, key, value)
    if run.info.status != "RUNNING":
        service.update_run(run.info.run_id, status="RUNNING")
    for key in run.data.tags.keys() & {*outdated}:
        service.delete_tag(run.info.run_id, key)
