"""`roundhouse deploy --target kubernetes`: looks first, shows what would change, and applies it."""

import sys
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from infra.automations import as_served
from infra.blocks import read_block
from infra.clusters.clear_text import require_hidden
from infra.clusters.examination import examine_cluster
from infra.clusters.images import EXAMPLE, parse_reference
from infra.clusters.places import require_shared
from infra.clusters.profiles import POOL_TYPE, load_profiles
from infra.clusters.requirements import Requirements, requirements
from infra.clusters.template import base_job_template
from infra.deployment import (
    chosen_blocks,
    deliver,
    prefect_client,
    show_changes,
    show_deployments,
)
from infra.examinations.findings import Finding, show_finding
from infra.merging import MEMORY, differences, three_way
from infra.rehearsal import rehearsing
from tasks.errors import ConfigError
from tasks.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from rich.console import Console

POOL = "kubernetes"


def for_cluster(settings: Settings) -> Settings:
    """The settings of a deployment to a cluster, whose pool has a name of its own.

    Raises:
        ConfigError: No image is named, or one that can be another tomorrow.
    """
    if not settings.image:
        raise ConfigError(
            f"ROUNDHOUSE_IMAGE is not set; expected the image of the runs, such as {EXAMPLE}. "
            "Build and push one with infra/docker/build, and set it."
        )
    parse_reference(settings.image)
    given = "pool" in settings.model_fields_set
    return settings if given else settings.model_copy(update={"pool": POOL})


def deploy_to_cluster(
    settings: Settings,
    console: "Console",
    names: Iterable[str] = (),
    pool: str | None = None,
    *,
    dry_run: bool = False,
    confirmed: bool = False,
) -> None:
    """Puts pipelines on the server, to be run as Jobs of a cluster that is fit for them.

    Args:
        settings: Places and addresses.
        console: Where it is shown what was found, what would change, and what did.
        names: Deployments of the file; none for all.
        pool: Work pool instead of the blocks' own.
        dry_run: Whether it is only shown what would change.
        confirmed: Whether it is applied without asking; nobody is asked where nobody could answer.

    Raises:
        ConfigError: The cluster or a setting is not fit, or a block asks for what there is not.
        ServiceError: The server does not answer.
    """
    settings = for_cluster(settings)
    names = tuple(names)
    blocks = chosen_blocks(settings, names, pool)
    profiles = load_profiles(settings)
    with prefect_client(settings) as client:
        settings = as_served(client, settings)
        # all of the file is read before anything is looked at or sent
        requests = [read_block(block, settings) for block in blocks]
        for request in requests:
            require_hidden(request.choices["job_variables"]["env"], request.name)
            require_shared(request.choices["job_variables"]["env"], request.name)
        require_fit(requirements(settings, profiles, blocks, names), console)
        stays: list[str] = []
        ensure = partial(
            ensure_cluster_pool,
            template=base_job_template(settings, profiles),
            own=pool or settings.pool,
            kept=stays,
        )
        plan = deliver(rehearsing(client), settings, requests, pool, ensure=ensure, in_full=True)
        plan.kept.extend(stays)
        show_changes(console, plan, "~")
        if dry_run or (plan.changes and not (confirmed or agreed(console))):
            console.print("Nothing was applied.")
            return
        if plan.changes:
            plan = deliver(client, settings, requests, pool, ensure=ensure)
            console.print("Applied.")
        show_deployments(console, plan)


def agreed(console: "Console") -> bool:
    """Whether somebody agrees; yes, where nobody is there to be asked."""
    if not (console.is_terminal and sys.stdin.isatty()):
        return True
    return console.input("Apply? [y/N] ").strip().lower() in ("y", "yes")


def require_fit(wanted: Requirements, console: "Console") -> None:
    """Looks at the cluster, and shows what it found.

    Args:
        wanted: What is asked of it.
        console: Where it is shown.

    Raises:
        ConfigError: There is something to mend.
    """
    findings = examine_cluster(wanted)
    for finding in findings:
        show_finding(console, finding)
    if wrong := sum(not finding.is_well for finding in findings):
        raise ConfigError(
            f"{wrong} to mend on the cluster before anything runs there, as said above; nothing "
            "was applied."
        )


def examine_for_doctor(settings: Settings) -> list[Finding]:
    """What `roundhouse doctor --target kubernetes` finds of the cluster.

    Raises:
        ConfigError: A setting or a block cannot be used.
    """
    settings = for_cluster(settings)
    blocks = chosen_blocks(settings)
    return examine_cluster(requirements(settings, load_profiles(settings), blocks, ()))


def ensure_cluster_pool(
    client: "SyncPrefectClient",
    name: str,
    settings: Settings,
    *,
    template: dict[str, Any],
    own: str,
    kept: list[str],
) -> list[str]:
    """Makes a work pool for Jobs, or sends what has changed in our template.

    What the template was at the last deployment is kept in its variables, under a key that no form
    reads, so that it can be told what somebody changed in the UI, which stays.

    Args:
        client: A client for the Prefect API.
        name: Name of the pool.
        settings: Name the image and the namespace.
        template: Our job template.
        own: The pool that has to be one for Jobs; others may be of another type.
        kept: Takes a sentence on what stays as it was changed in the UI.

    Returns:
        A sentence for each thing that was made or changed.

    Raises:
        ConfigError: The pool is of another type, or has a template that is not ours.
    """
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    try:
        there = client.read_work_pool(name)
    except ObjectNotFound:
        sent = _remembering(template, template)
        client.create_work_pool(WorkPoolCreate(name=name, type=POOL_TYPE, base_job_template=sent))
        return [f"work pool {name}: made, for Jobs of {settings.image} in {settings.namespace}"]
    if there.type != POOL_TYPE:
        if name != own:
            return []
        raise ConfigError(
            f"The work pool {name!r} is of type {there.type!r}; expected {POOL_TYPE!r}. Set "
            "ROUNDHOUSE_POOL, or --pool, to the name of another."
        )
    now, last = _split(there.base_job_template)
    if last is None and not _is_prefects(now):
        raise ConfigError(
            f"The work pool {name!r} has a job template that somebody else made; expected ours, or "
            "no pool of that name. Set ROUNDHOUSE_POOL to another name, or remove the pool: "
            f"prefect work-pool delete {name}."
        )
    merged = three_way(template, last, now) if last else template
    if changed := differences(template, merged):
        kept.append(f"work pool {name}: changed in the UI, and kept: {'; '.join(changed)}")
    if there.base_job_template == (sent := _remembering(merged, template)):
        return []
    client.update_work_pool(name, WorkPoolUpdate(base_job_template=sent))
    words = differences(now, merged) if last else ["our job template instead of Prefect's own"]
    return [f"work pool {name}: {word}" for word in words] or [f"work pool {name}: remembered"]


def _remembering(template: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    return {**template, "variables": {**template["variables"], MEMORY: ours}}


def _split(template: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The template as it is, and what ours was when it was last sent."""
    if not template:
        return {}, None
    variables = dict(template["variables"])
    last = variables.pop(MEMORY, None)
    return {**template, "variables": variables}, last


def _is_prefects(template: dict[str, Any]) -> bool:
    """Whether a template is the one that a worker of Prefect makes a pool with."""
    from prefect_kubernetes.worker import KubernetesWorker

    return template in ({}, KubernetesWorker.get_default_base_job_template())
