"""What is deployed: pipelines, the worker that takes their runs, schedules and automations."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.examinations.findings import Finding, Stack
from infra.forms import mistakes

if TYPE_CHECKING:
    from prefect.client.schemas.objects import DeploymentSchedule, Worker
    from prefect.client.schemas.responses import DeploymentResponse

PROBE, TAG = "probe", "roundhouse"
LIMIT = 200


def deployed(stack: Stack) -> list[Finding]:
    """Whether every pipeline of the file is deployed."""
    there = {deployment.name for deployment in read_deployments(stack)}
    missing = [name for name in (*stack.names, PROBE) if name not in there]
    if missing:
        fact = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not deployed"
        return [Finding("deployments", fact, f"run `{stack.deploy}`")]
    return [Finding("deployments", f"{', '.join(stack.names)}: all there")]


def workers(stack: Stack) -> list[Finding]:
    """Whether a worker polls each pool that runs are sent to."""
    pools = {deployment.work_pool_name for deployment in read_deployments(stack)}
    return [_pool(stack, pool) for pool in sorted(pool for pool in pools if pool)]


def schedules(stack: Stack) -> list[Finding]:
    """Whether every schedule has a slug, and the parameters that its deployment's form wants.

    Without a slug a deployment may drop or double it. Parameters of its own replace the pipeline's
    group by group, and Prefect checks neither them nor what they leave out.
    """
    found = [(d.name, schedule) for d in read_deployments(stack) for schedule in d.schedules]
    nameless = [(name, schedule) for name, schedule in found if not schedule.slug]
    if nameless:
        name, schedule = nameless[0]
        more = f" (and {len(nameless) - 1} more)" if len(nameless) > 1 else ""
        fact = f"{name} has one without a slug, {_rule(schedule)}{more}"
        cure = f"run `{stack.deploy}`, which gives one to those that were made in the UI"
        return [Finding("schedules", fact, cure)]
    if wrong := [finding for d in read_deployments(stack) for finding in _unfit(stack, d)]:
        return wrong
    paused = sum(not schedule.active for _, schedule in found)
    also = f", {paused} of them paused" if paused else ""
    return [Finding("schedules", f"{len(found)}, each with a slug{also}")]


def automations(stack: Stack) -> list[Finding]:
    """Whether the automations are there that find crashed runs and tell people."""
    from infra.automations import as_served, automation_names

    with stack.client() as client:
        wanted = automation_names(as_served(client, stack.settings))
        there = {a.name: a.enabled for a in client.read_automations(limit=LIMIT)}
    what = "automations"
    if missing := [name for name in wanted if name not in there]:
        fact = f"{', '.join(map(repr, missing))} {'is' if len(missing) == 1 else 'are'} missing"
        return [Finding(what, fact, f"run `{stack.deploy}`")]
    if switched_off := [name for name in wanted if not there[name]]:
        fact = f"{', '.join(map(repr, switched_off))} switched off"
        return [Finding(what, fact, f"switch it on at {stack.pages}/automations")]
    return [Finding(what, f"{len(wanted)} there and switched on")]


def is_polled(stack: Stack, pool: str) -> bool:
    """Whether a worker would take a run from a pool.

    Args:
        stack: The servers.
        pool: Name of the work pool.
    """
    return _pool(stack, pool).is_well


def read_deployments(stack: Stack) -> "list[DeploymentResponse]":
    """Our deployments: those of the file's names, and those that `roundhouse deploy` tagged."""
    with stack.client() as client:
        found = client.read_deployments(limit=LIMIT)
    ours = {*stack.names, PROBE}
    return [deployment for deployment in found if deployment.name in ours or TAG in deployment.tags]


def asks_for_gpu(deployment: "DeploymentResponse") -> bool:
    """Whether a deployment's runs want a GPU: by its precision, or by what its job is given."""
    training = deployment.parameters.get("training") or {}
    precision = training.get("precision") if isinstance(training, dict) else None
    given = [name for name, value in (deployment.job_variables or {}).items() if value]
    return precision == "mixed_bfloat16" or any("gpu" in name.lower() for name in given)


def _pool(stack: Stack, name: str) -> Finding:
    from prefect.client.schemas.objects import WorkerStatus

    what = f"worker of {name}"
    with stack.client() as client:
        pool = client.read_work_pool(name)
        found = client.read_workers_for_work_pool(name)
    if pool.is_paused:
        fact = "the pool is paused, so its runs wait"
        return Finding(what, fact, f"run `prefect work-pool resume {name}`")
    polling = [worker for worker in found if worker.status == WorkerStatus.ONLINE]
    if polling:
        return Finding(what, f"{polling[0].name} was heard {_last_heard(polling)} s ago")
    start = "`roundhouse up`" if name == stack.settings.pool else ""
    ours = pool.type == "process"
    command = "roundhouse worker" if ours else "prefect worker start"
    cure = " or ".join(filter(None, (start, f"`{command} --pool {name}`")))
    last = f"; the last was heard {_last_heard(found)} s ago" if found else ""
    return Finding(what, f"none polls{last}", f"start {cure}")


def _unfit(stack: Stack, deployment: "DeploymentResponse") -> list[Finding]:
    """The schedules of a deployment whose runs would not train what its form asks for."""
    found = []
    for schedule in deployment.schedules:
        merged = {**deployment.parameters, **schedule.parameters}
        form = deployment.parameter_openapi_schema or {}
        wrong = mistakes(form, merged, complete=True) if schedule.parameters and form else []
        if wrong:
            fact = f"the parameters of {schedule.slug} of {deployment.name} do not fit: {wrong[0]}"
            page = f"{stack.pages}/deployments/deployment/{deployment.id}"
            cure = f"correct them in the file that `{stack.deploy}` reads, or at {page}"
            found.append(Finding("schedules", fact, cure))
    return found


def _last_heard(found: "Iterable[Worker]") -> str:
    heard = [worker.last_heartbeat_time for worker in found if worker.last_heartbeat_time]
    if not heard:
        return "unknown"
    return f"{max((datetime.now(UTC) - max(heard)).total_seconds(), 0):.0f}"


def _rule(schedule: "DeploymentSchedule") -> str:
    rule = schedule.schedule.model_dump(mode="json")
    return next(f"{k} {rule[k]}" for k in ("cron", "interval", "rrule") if k in rule)
