"""Where runs wait for a worker: work pools, and the limits that hold over all of them."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from infra.clusters.profiles import POOL_TYPE
from tasks.errors import ConfigError
from tasks.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

KIND = "process"
GPU_LIMIT = "gpu"
# the blocks name the stack's own pool by its usual name, so that plain `prefect deploy` works too
STACK_POOL: str = Settings.model_fields["pool"].default


def pool_of(wanted: str | None, settings: Settings) -> str:
    """The name of a block's work pool.

    Args:
        wanted: What the block says; None for nothing.
        settings: Name the pool of the stack's worker, which `local` in a block stands for.
    """
    return settings.pool if wanted in (None, STACK_POOL) else str(wanted)


def require_name(pool: str) -> None:
    """Makes sure that a work pool can have a name.

    Raises:
        ConfigError: It cannot.
    """
    if not re.fullmatch(r"[^/%&><]*[^/%&><\s][^/%&><]*", pool) or pool.lower().startswith(
        "prefect"
    ):
        raise ConfigError(
            f"Received {pool!r} as a work pool; expected a name without / % & > <, that does not "
            "begin with 'prefect'. Choose another: --pool NAME, ROUNDHOUSE_POOL, or work_pool in "
            "the block."
        )


def ensure_pool(client: "SyncPrefectClient", name: str, settings: Settings) -> list[str]:
    """Makes a work pool for processes, unless there is one of that name, of whatever type.

    Args:
        client: A client for the Prefect API.
        name: Name of the pool.
        settings: Name the pool that has a worker in `roundhouse up`.

    Returns:
        A sentence, if it was made.
    """
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        try:
            client.create_work_pool(
                WorkPoolCreate(name=name, type=KIND, base_job_template=template)
            )
        except ObjectAlreadyExists:
            # a worker that starts at the same moment makes it as well
            return []
        hint = (
            ""
            if name == settings.pool
            else f"; its runs wait for a worker: roundhouse worker --pool {name!r}"
        )
        return [f"work pool {name}: made, for processes{hint}"]
    return []


def require_kept_on_cluster(
    client: "SyncPrefectClient", moves: Mapping[str, tuple[str, str]]
) -> None:
    """Makes sure that no pipeline leaves its cluster because a word of the command was forgotten.

    Args:
        client: A client for the Prefect API.
        moves: Deployments by name, each with the work pool that it has and the one it would have.

    Raises:
        ConfigError: One would leave a pool for Jobs.
    """
    leaving = {name: now for name, (now, then) in moves.items() if now != then}
    types = {pool: client.read_work_pool(pool).type for pool in set(leaving.values())}
    lost = [name for name, pool in leaving.items() if types[pool] == POOL_TYPE]
    if lost:
        pools = ", ".join(sorted({leaving[name] for name in lost}))
        raise ConfigError(
            f"The runs of {', '.join(lost)} are Jobs of a cluster, by the work pool {pools}, and "
            "this would make them processes; expected --target kubernetes, or, to take them off "
            f"the cluster, --pool {moves[lost[0]][1]}. Nothing was changed."
        )


def ensure_limits(client: "SyncPrefectClient", settings: Settings) -> list[str]:
    """Makes the limits that hold over all workers.

    A limit that is there keeps what was changed in the UI, unless its setting is given.

    Args:
        client: A client for the Prefect API.
        settings: Say how many trainings may use GPUs at once.

    Returns:
        A sentence for each that was made or changed.
    """
    from prefect.client.schemas.actions import (
        GlobalConcurrencyLimitCreate,
        GlobalConcurrencyLimitUpdate,
    )
    from prefect.exceptions import ObjectNotFound

    wanted = settings.gpu_runs
    try:
        there = client.read_global_concurrency_limit_by_name(GPU_LIMIT).limit
    except ObjectNotFound:
        client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=wanted)
        )
        return [f"limit {GPU_LIMIT}: made, {wanted} at once"]
    if there == wanted or "gpu_runs" not in settings.model_fields_set:
        return []
    client.update_global_concurrency_limit(GPU_LIMIT, GlobalConcurrencyLimitUpdate(limit=wanted))
    return [f"limit {GPU_LIMIT}: {wanted} at once instead of {there}"]
