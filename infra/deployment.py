"""`roundhouse deploy`: puts the blocks of prefect.yaml on a Prefect server, again and again."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from infra import environment
from infra.automations import apply_automations, as_served
from infra.blocks import Request, read_block
from infra.clusters.profiles import POOL_TYPE, load_profiles, resource_variables
from infra.merging import deploy_one, find_deployment, settled_pool
from infra.notifications import require_address
from infra.pipelines import Block, load_blocks, nearest
from infra.pools import ensure_limits, ensure_pool, require_kept_on_cluster, require_name
from infra.rehearsal import rehearsing
from infra.schedules import from_server, next_run
from tasks.errors import ConfigError, ServiceError
from tasks.remote import shown
from tasks.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from rich.console import Console

EnsurePool = Callable[["SyncPrefectClient", str, Settings], list[str]]
MEND = "Start `roundhouse up`, or set ROUNDHOUSE_PREFECT_API_URL to the address of a server"
CLIENT_ERROR, SERVER_ERROR, UNAUTHORISED = 400, 500, (401, 403)


@dataclass(frozen=True)
class Delivery:
    """What a deployment did, or would do.

    Args:
        changes: What changed, a sentence each.
        kept: What stays as it is on the server, and why.
        deployed: The deployments, as the server has them.
    """

    changes: list[str]
    kept: list[str]
    deployed: "list[DeploymentResponse]"


def deploy_pipelines(
    settings: Settings,
    console: "Console",
    names: Iterable[str] = (),
    pool: str | None = None,
    *,
    dry_run: bool = False,
) -> None:
    """Puts pipelines, their pools, schedules, limits and automations on the server; repeatable.

    Args:
        settings: Places and addresses.
        console: Where each change is shown.
        names: Deployments of the file; none for all.
        pool: Work pool instead of the blocks' own.
        dry_run: Whether it is only shown what would change.

    Raises:
        ConfigError: A name, block, schedule or pool that cannot be used, or no server is known.
        ServiceError: The server does not answer.
    """
    blocks = chosen_blocks(settings, names, pool)
    with prefect_client(settings) as client:
        settings = as_served(client, settings)
        # all of the file is read before anything is sent
        requests = [read_block(block, settings) for block in blocks]
        if not (pool or "pool" in settings.model_fields_set):
            require_kept_on_cluster(client, _moves(client, settings, requests))
        if dry_run:
            show(console, deliver(rehearsing(client), settings, requests, pool, in_full=True))
            console.print("Nothing was applied.")
            return
        show(console, deliver(client, settings, requests, pool))


def chosen_blocks(
    settings: Settings, names: Iterable[str] = (), pool: str | None = None
) -> list[Block]:
    """The blocks of the file that are to be deployed.

    Args:
        settings: Name the file.
        names: Deployments of the file; none for all.
        pool: Work pool instead of the blocks' own.

    Raises:
        ConfigError: A name or a pool that cannot be used, or a file that cannot be read.
    """
    if pool is not None:
        require_name(pool)
    require_address(settings)
    blocks = load_blocks(settings.pipelines)
    for name in names:
        if name not in blocks:
            raise ConfigError(
                f"Unknown pipeline {name!r}.{nearest(name, blocks)} Known: {', '.join(blocks)}."
            )
    return [blocks[name] for name in names or blocks]


def deliver(
    client: "SyncPrefectClient",
    settings: Settings,
    requests: Sequence[Request],
    pool: str | None = None,
    *,
    ensure: EnsurePool = ensure_pool,
    in_full: bool = False,
) -> Delivery:
    """Puts deployments on the server, with the pools, limits and automations that they need.

    Args:
        client: A client for the Prefect API, or one that rehearses.
        settings: Places and addresses.
        requests: What the blocks ask for.
        pool: Work pool instead of the blocks' own.
        ensure: Makes a work pool what it should be.
        in_full: Whether each value is named that changes.
    """
    pools = [pool] if pool else [str(r.choices["work_pool_name"]) for r in requests]
    changes, kept = [], []
    for name in dict.fromkeys(pools):
        changes += ensure(client, name, settings)
    changes += ensure_limits(client, settings)
    requests, said = fit_to_pools(client, settings, requests, pool)
    kept += said
    for request in requests:
        done, stays = deploy_one(client, request, pool, in_full=in_full)
        changes += [f"{request.name}: {', '.join(done)}"] if done else []
        kept += [f"{request.name}: {sentence}" for sentence in stays]
    changes += apply_automations(client, settings)
    deployed = [find_deployment(client, request) for request in requests]
    return Delivery(changes, kept, [deployment for deployment in deployed if deployment])


def fit_to_pools(
    client: "SyncPrefectClient",
    settings: Settings,
    requests: Iterable[Request],
    pool: str | None = None,
) -> tuple[list[Request], list[str]]:
    """The requests with what their resources mean to their pools: on Kubernetes, job variables.

    Args:
        client: A client for the Prefect API.
        settings: Name the image, and the file of profiles.
        requests: What the blocks ask for.
        pool: Work pool instead of the blocks' own.

    Returns:
        The requests, and what is said of resources that nothing comes of.

    Raises:
        ConfigError: Resources that there are not.
    """
    fitted, idle = [], []
    for request in requests:
        if request.resources is None:
            fitted.append(request)
            continue
        name = settled_pool(request, find_deployment(client, request), pool)
        if client.read_work_pool(name).type != POOL_TYPE:
            _require_one_node(request, name)
            idle.append(request.name)
            fitted.append(request)
            continue
        given = request.choices["job_variables"]
        found = resource_variables(
            request.resources, load_profiles(settings), settings, request.name, given
        )
        env = {**found.get("env", {}), **given.get("env", {})}
        choices = {**request.choices, "job_variables": {**found, **given, "env": env}}
        fitted.append(replace(request, choices=choices))
    said = f"{', '.join(idle)}: resources are for a pool on Kubernetes; others run as processes"
    return fitted, [said] if idle else []


def _moves(
    client: "SyncPrefectClient", settings: Settings, requests: Iterable[Request]
) -> dict[str, tuple[str, str]]:
    """Where deployments are, and where they would come to, of those that ask for no other pool."""
    usual = [request for request in requests if request.choices["work_pool_name"] == settings.pool]
    there = {request.name: find_deployment(client, request) for request in usual}
    return {
        request.name: (str(found.work_pool_name), settled_pool(request, found))
        for request in usual
        if (found := there[request.name]) and found.work_pool_name
    }


def _require_one_node(request: Request, pool: str) -> None:
    training = request.resources.training if request.resources else None
    if training and training.nodes > 1:
        raise ConfigError(
            f"The resources of {request.name} ask for {training.nodes} nodes for its training, and "
            f"its runs are processes of the work pool {pool}; expected a pool of a cluster. Deploy "
            "it with --target kubernetes, or leave `nodes` out."
        )


@contextlib.contextmanager
def prefect_client(settings: Settings) -> Iterator["SyncPrefectClient"]:
    """A client for the settings' Prefect API, whose errors are explained.

    Raises:
        ConfigError: No server is known, or it refuses what is asked of it.
        ServiceError: It does not answer.
    """
    if not settings.prefect_api_url:
        raise ConfigError(f"No Prefect server is running here. {MEND}, which ends in /api.")
    values = environment.environment(settings, settings.prefect_api_url)
    environment.apply(values)
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    place = shown(settings.prefect_api_url)
    try:
        with (
            temporary_settings({PREFECT_API_URL: settings.prefect_api_url}),
            get_client(sync_client=True) as client,
        ):
            yield client
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        if code in UNAUTHORISED:
            raise ConfigError(
                f"The Prefect server at {place} does not let us in ({code}). Set ROUNDHOUSE_USER "
                "and ROUNDHOUSE_PASSWORD or ROUNDHOUSE_PASSWORD_FILE to those of the server."
            ) from error
        sentence = f"The Prefect server at {place} answered {code}: {_detail(error.response)}"
        kind = ConfigError if CLIENT_ERROR <= code < SERVER_ERROR else ServiceError
        raise kind(f"{sentence} {MEND}.") from error
    except httpx.HTTPError as error:
        raise ServiceError(
            f"No Prefect server answers at {place} ({type(error).__name__}: {error}). {MEND}, "
            "which ends in /api."
        ) from error


def _detail(response: Any) -> str:
    with contextlib.suppress(ValueError, AttributeError):
        return " ".join(str(response.json().get("detail", "")).split())[:500]
    return "nothing that could be read."


def show(console: "Console", delivery: Delivery) -> None:
    """One line for each thing that changed, then each deployment with its next run."""
    show_changes(console, delivery)
    show_deployments(console, delivery)


def show_changes(console: "Console", delivery: Delivery, mark: str = "✓") -> None:
    """One line for each thing that changed, or that stays as somebody changed it."""
    from rich.text import Text

    for sentence in delivery.changes:
        console.print(Text.assemble((f"{mark} ", "green"), sentence), soft_wrap=True)
    for sentence in delivery.kept:
        console.print(Text.assemble(("· ", "dim"), sentence), soft_wrap=True)
    if not delivery.changes:
        console.print("Nothing changed.")


def show_deployments(console: "Console", delivery: Delivery) -> None:
    """A table of the deployments, each with its next run."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Deployment", "Pool", "Next run"):
        table.add_column(title, overflow="fold")
    for deployment in delivery.deployed:
        table.add_row(
            Text(deployment.name), Text(deployment.work_pool_name or "none"), _due(deployment)
        )
    console.print(table)


def _due(deployment: "DeploymentResponse") -> str:
    """When a deployment runs next, or why it does not."""
    schedules = from_server(deployment.schedules)
    if deployment.paused:
        return "paused"
    if not schedules:
        return "when it is started"
    moment = next_run(schedules)
    if moment is None:
        return "its schedules are paused"
    zone = getattr(moment.tzinfo, "key", "UTC")
    paused = sum(not schedule.active for schedule in schedules)
    note = f" ({paused} of {len(schedules)} schedules paused)" if paused else ""
    return f"{moment:%a %Y-%m-%d %H:%M} {zone}{note}"
