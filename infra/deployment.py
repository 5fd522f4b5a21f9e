"""`roundhouse deploy`: puts the blocks of prefect.yaml on a Prefect server, again and again."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from infra import environment
from infra.automations import apply_automations, as_served
from infra.blocks import read_block
from infra.merging import deploy_one, find_deployment
from infra.notifications import require_address
from infra.pipelines import load_blocks, nearest
from infra.pools import ensure_limits, ensure_pool, require_name
from infra.schedules import from_server, next_run
from tasks.errors import ConfigError, ServiceError
from tasks.remote import shown
from tasks.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from rich.console import Console

MEND = "Start `roundhouse up`, or set ROUNDHOUSE_PREFECT_API_URL to the address of a server"
CLIENT_ERROR, SERVER_ERROR, UNAUTHORISED = 400, 500, (401, 403)


def deploy_pipelines(
    settings: Settings, console: "Console", names: Iterable[str] = (), pool: str | None = None
) -> None:
    """Puts pipelines, their pools, schedules, limits and automations on the server; repeatable.

    Args:
        settings: Places and addresses.
        console: Where each change is shown.
        names: Deployments of the file; none for all.
        pool: Work pool instead of the blocks' own.

    Raises:
        ConfigError: A name, block, schedule or pool that cannot be used, or no server is known.
        ServiceError: The server does not answer.
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
    with prefect_client(settings) as client:
        settings = as_served(client, settings)
        # all of the file is read before anything is sent
        requests = [read_block(blocks[name], settings) for name in names or blocks]
        pools = [pool] if pool else [r.choices["work_pool_name"] for r in requests]
        changes, kept = [], []
        for name in dict.fromkeys(pools):
            changes += ensure_pool(client, name, settings)
        changes += ensure_limits(client, settings)
        for request in requests:
            done, stays = deploy_one(client, request, pool)
            changes += [f"{request.name}: {', '.join(done)}"] if done else []
            kept += [f"{request.name}: {sentence}" for sentence in stays]
        changes += apply_automations(client, settings)
        deployed = [find_deployment(client, request) for request in requests]
    _show(console, changes, kept, [deployment for deployment in deployed if deployment])


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


def _show(
    console: "Console", changes: list[str], kept: list[str], deployed: list["DeploymentResponse"]
) -> None:
    """One line for each thing that changed, then each deployment with its next run."""
    from rich.table import Table
    from rich.text import Text

    for sentence in changes:
        console.print(Text.assemble(("✓ ", "green"), sentence), soft_wrap=True)
    for sentence in kept:
        console.print(Text.assemble(("· ", "dim"), sentence), soft_wrap=True)
    if not changes:
        console.print("Nothing changed.")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Deployment", "Pool", "Next run"):
        table.add_column(title, overflow="fold")
    for deployment in deployed:
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
