"""One deployment, as the file asks for it and as the server has it.

The file and the UI can both change a deployment. What the file said at the last deploy is kept with
the deployment itself, under a key of its parameter schema that no validator and no form reads; so
it can be told who changed what. A change of either side survives; where both changed the same, the
file's is applied, except that a pause is never lifted.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from infra.blocks import Request
from infra.forms import mistakes
from infra.schedules import Merge, Schedule, from_server, merge

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

MEMORY = "x-roundhouse"
ABSENT = object()
POOL = "work_pool_name"


def deploy_one(
    client: "SyncPrefectClient", request: Request, pool: str | None = None, *, in_full: bool = False
) -> tuple[list[str], list[str]]:
    """Puts one deployment on the server, or sends what has changed in it and nothing else.

    Args:
        client: A client for the Prefect API.
        request: What the file asks for.
        pool: Work pool instead of the block's own.
        in_full: Whether each value is named that changed, with what it was.

    Returns:
        What was done, and what stays as somebody changed it in the UI.
    """
    memory = {"choices": dict(request.choices), "schedules": [_kept(s) for s in request.schedules]}
    facts = dict(request.facts)
    facts["parameter_openapi_schema"] = {**facts["parameter_openapi_schema"], MEMORY: memory}
    there = find_deployment(client, request)
    if there is None:
        return _create(client, request, {**request.choices, **facts}, pool), []
    last = (there.parameter_openapi_schema or {}).get(MEMORY)
    now = _choices(there)
    before = last["choices"] if last else now
    wanted = {
        key: three_way(value, before.get(key), now[key]) for key, value in request.choices.items()
    }
    wanted[POOL] = settled_pool(request, there, pool)
    kept = _differences(request, before, now, wanted)
    if mistakes(request.facts["parameter_openapi_schema"], wanted["parameters"]):
        wanted["parameters"] = request.choices["parameters"]
        kept = ["parameters of the UI no longer fit the flow; those of the file are back"]
    changed = {key: value for key, value in wanted.items() if value != now[key]}
    changed |= {key: value for key, value in facts.items() if value != getattr(there, key)}
    deployed = [_remembered(s) for s in last["schedules"]] if last else None
    plan = merge(request.schedules, deployed, from_server(there.schedules))
    done = _send_schedules(client, there, plan)
    if changed:
        _send(client, there, changed, wanted)
        names = {
            "parameter_openapi_schema": "form" if not done else "",
            POOL: f"work pool {wanted[POOL]}",
        }
        if in_full:
            names |= {
                key: _in_full(key, now[key], value) for key, value in changed.items() if key in now
            }
        done = [n for n in (names.get(key, _title(key)) for key in changed) if n] + done
    return done, [*kept, *plan.kept]


def three_way(wanted: Any, before: Any, there: Any) -> Any:
    """A value that two sides can change: the side that did wins, the file where both did.

    Args:
        wanted: What the file says.
        before: What the file said at the last deploy.
        there: What the server has.
    """
    if wanted == before:
        return there
    if not all(isinstance(side, Mapping) for side in (wanted, before, there)):
        return wanted
    merged = {
        key: three_way(wanted.get(key, ABSENT), before.get(key, ABSENT), there.get(key, ABSENT))
        for key in dict.fromkeys([*there, *wanted])
    }
    return {key: value for key, value in merged.items() if value is not ABSENT}


def settled_pool(
    request: Request, there: "DeploymentResponse | None", pool: str | None = None
) -> str:
    """The work pool that a deployment has once it is deployed.

    Args:
        request: What the file asks for.
        there: The deployment as the server has it; None where there is none yet.
        pool: Work pool instead of the block's own.
    """
    if pool or there is None or not there.work_pool_name:
        return pool or str(request.choices[POOL])
    last = (there.parameter_openapi_schema or {}).get(MEMORY)
    before = last["choices"].get(POOL) if last else there.work_pool_name
    return str(three_way(request.choices[POOL], before, there.work_pool_name))


def differences(before: Any, after: Any, place: str = "") -> list[str]:
    """What is another value in a tree than it was, each in a few words.

    Args:
        before: The tree as it was.
        after: The tree as it is to be.
        place: Where in a larger tree both are.
    """
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return [
            words
            for key in dict.fromkeys([*before, *after])
            for words in differences(
                before.get(key, ABSENT), after.get(key, ABSENT), f"{place}.{key}".strip(".")
            )
        ]
    if before == after:
        return []
    if before is ABSENT:
        return [f"{place}: {after}"]
    if after is ABSENT:
        return [f"{place}: no longer {before}"]
    return [f"{place}: {after} instead of {before}"]


def _in_full(key: str, before: Any, after: Any) -> str:
    found = differences(before, after)
    return "; ".join(f"{_title(key)} {words}".replace(" : ", ": ") for words in found)


def _create(
    client: "SyncPrefectClient", request: Request, values: Mapping[str, Any], pool: str | None
) -> list[str]:
    from prefect.client.schemas.objects import ConcurrencyOptions

    flow_id = client.create_flow_from_name(request.flow)
    options = values["concurrency_options"]
    given = {
        **values,
        POOL: pool or values[POOL],
        "concurrency_options": ConcurrencyOptions(**options) if options else None,
    }
    schedules = [_as_prefect(schedule) for schedule in request.schedules]
    client.create_deployment(flow_id, request.name, schedules=schedules, **given)
    return [f"deployed to work pool {given['work_pool_name']}"]


def _send(
    client: "SyncPrefectClient",
    there: "DeploymentResponse",
    changed: Mapping[str, Any],
    wanted: Mapping[str, Any],
) -> None:
    from prefect.client.schemas.actions import DeploymentUpdate

    sent = dict(changed)
    if POOL in sent or "work_queue_name" in sent:
        # a queue belongs to a pool
        sent |= {key: wanted[key] for key in (POOL, "work_queue_name")}
    client.update_deployment(there.id, DeploymentUpdate(**sent))


def _send_schedules(
    client: "SyncPrefectClient", there: "DeploymentResponse", plan: Merge
) -> list[str]:
    from uuid import UUID

    for schedule in plan.update:
        client.update_deployment_schedule(
            there.id,
            UUID(schedule.identity),
            active=schedule.active,
            schedule=_as_prefect(schedule).schedule,
            parameters=dict(schedule.parameters),
            slug=schedule.slug,
        )
    if plan.create:
        client.create_deployment_schedules(there.id, [_as_prefect(s) for s in plan.create])
    for schedule in plan.delete:
        client.delete_deployment_schedule(there.id, UUID(schedule.identity))
    return (
        [f"schedule {schedule.title} added" for schedule in plan.create]
        + [f"schedule {schedule.title} changed" for schedule in plan.update]
        + [f"schedule {schedule.title} removed" for schedule in plan.delete]
    )


def _as_prefect(schedule: Schedule) -> Any:
    from prefect.client.schemas.actions import DeploymentScheduleCreate

    return DeploymentScheduleCreate.model_validate(
        {
            "schedule": dict(schedule.rule),
            "active": schedule.active,
            "parameters": dict(schedule.parameters),
            "slug": schedule.slug,
        }
    )


def _kept(schedule: Schedule) -> dict[str, Any]:
    values = asdict(schedule)
    del values["identity"]
    return values


def _remembered(values: Mapping[str, Any]) -> Schedule:
    return Schedule(**values)


def find_deployment(client: "SyncPrefectClient", request: Request) -> "DeploymentResponse | None":
    """The deployment as the server has it; None where there is none yet."""
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(f"{request.flow}/{request.name}")
    except ObjectNotFound:
        return None


def _choices(there: "DeploymentResponse") -> dict[str, Any]:
    """What the server has of what both sides can change."""
    limit, options = there.global_concurrency_limit, there.concurrency_options
    return {
        "description": there.description or "",
        "tags": sorted(there.tags),
        "parameters": there.parameters,
        POOL: there.work_pool_name,
        "work_queue_name": there.work_queue_name or "default",
        "job_variables": there.job_variables,
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": options and options.model_dump(mode="json", exclude_none=True),
        "enforce_parameter_schema": there.enforce_parameter_schema,
    }


def _differences(
    request: Request,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    wanted: Mapping[str, Any],
) -> list[str]:
    """What was changed in the UI and stays, in a sentence."""
    keys = [
        key
        for key, value in request.choices.items()
        if wanted[key] != value and before.get(key) == value
    ]
    names = [_title(key) for key in keys if key != POOL]
    kept = [f"{', '.join(names)} changed in the UI, and kept"] if names else []
    # the UI or an earlier --pool; which of them is not known
    stays = POOL in keys and now[POOL] == wanted[POOL]
    return [*kept, f"work pool {wanted[POOL]}, as before"] if stays else kept


def _title(key: str) -> str:
    return key.removesuffix("_name").replace("_", " ")
