"""When pipelines run: the schedules of the file and those of the server, brought together."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from infra.pipelines import nearest
from tasks.errors import ConfigError

if TYPE_CHECKING:
    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.schedules import SCHEDULE_TYPES

KINDS = ("cron", "interval", "rrule")
KEYS = ("slug", "cron", "day_or", "interval", "anchor_date", "rrule", "timezone", "active")
# an interval needs a moment to count from; today's would make it another schedule at each deploy
ANCHOR = "2020-01-01T00:00:00Z"
EARLY = 6


@dataclass(frozen=True)
class Schedule:
    """One schedule, of the file or of the server.

    Args:
        slug: Its name inside the deployment; None for some that were made in the UI.
        rule: When, as Prefect writes it.
        parameters: What its runs have other than the deployment's.
        active: Whether it makes runs.
        identity: Its id on the server; empty for one of the file.
    """

    slug: str | None
    rule: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    active: bool = True
    identity: str = ""

    @property
    def content(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """What it does, whatever it is called and whether or not it is paused."""
        return self.rule, self.parameters

    @property
    def title(self) -> str:
        """What people call it."""
        kind = next(kind for kind in KINDS if kind in self.rule)
        return self.slug or f"{kind} {self.rule[kind]}"


@dataclass(frozen=True)
class Merge:
    """What is to be done on the server.

    Args:
        create: Schedules that it lacks.
        update: Schedules as they are to be, each with the id of the one it has.
        delete: Schedules that are to go.
        kept: Sentences on what was changed in the UI and therefore stays as it is.
    """

    create: tuple[Schedule, ...] = ()
    update: tuple[Schedule, ...] = ()
    delete: tuple[Schedule, ...] = ()
    kept: tuple[str, ...] = ()


def merge(
    wanted: Sequence[Schedule], deployed: Sequence[Schedule] | None, server: Sequence[Schedule]
) -> Merge:
    """Brings three states together: a change of either side since the last deploy survives.

    Where both sides changed the same schedule, the file's timing is applied and the server's pause
    is kept.

    Args:
        wanted: The schedules of the file.
        deployed: The schedules of the file at the last deploy; None where that is not known, and
            what the server has under the file's names is taken for it.
        server: The schedules of the server.
    """
    named: dict[str | None, Schedule] = {s.slug: s for s in server if s.slug}
    if deployed is None:
        last = {s.slug: replace(named[s.slug], active=s.active) for s in wanted if s.slug in named}
    else:
        last = {schedule.slug: schedule for schedule in deployed}
    create, update, kept = [], [], []
    nameless = [schedule for schedule in server if not schedule.slug]
    for schedule in wanted:
        before, there = last.get(schedule.slug), named.get(schedule.slug)
        if there is not None:
            update += _changed(schedule, before, there)
            kept += _kept(schedule, before, there)
        elif before is not None and before.content == schedule.content:
            kept.append(f"schedule {schedule.title} was deleted in the UI and stays deleted")
        elif twin := next((s for s in nameless if s.content == schedule.content), None):
            nameless.remove(twin)
            update.append(replace(twin, slug=schedule.slug))
        else:
            create.append(schedule)
    update += _name(nameless, {*named, *(schedule.slug for schedule in wanted)})
    gone = [(before, named[slug]) for slug, before in last.items() if slug in named]
    gone = [pair for pair in gone if pair[0].slug not in {s.slug for s in wanted}]
    kept += [
        f"schedule {there.title} has left the file, but was changed in the UI and stays"
        for before, there in gone
        if not _untouched(before, there)
    ]
    delete = [there for before, there in gone if _untouched(before, there)]
    return Merge(tuple(create), tuple(update), tuple(delete), tuple(kept))


def _name(nameless: Sequence[Schedule], taken: Collection[str | None]) -> list[Schedule]:
    """Schedules made in the UI, which gives them no slug, with one by which they are known."""
    free = (f"made-in-ui-{number}" for number in itertools.count(1))
    slugs = (slug for slug in free if slug not in taken)
    return [replace(schedule, slug=slug) for schedule, slug in zip(nameless, slugs, strict=False)]


def _changed(schedule: Schedule, before: Schedule | None, there: Schedule) -> list[Schedule]:
    """The schedule as it is to be, where that is other than it is."""
    result = there
    if before is None or before.content != schedule.content:
        result = replace(result, rule=schedule.rule, parameters=schedule.parameters)
    # a switch in the UI sends no parameters, and the server then empties them
    elif schedule.parameters and not there.parameters:
        result = replace(result, parameters=schedule.parameters)
    if before is not None and before.active != schedule.active:
        result = replace(result, active=schedule.active)
    return [] if result == there else [result]


def _kept(schedule: Schedule, before: Schedule | None, there: Schedule) -> list[str]:
    if before is None or before.content != schedule.content or there.rule == schedule.rule:
        return []
    return [f"schedule {schedule.title} was changed in the UI and stays so"]


def _untouched(before: Schedule, there: Schedule) -> bool:
    same_parameters = there.parameters in (before.parameters, {})
    return there.rule == before.rule and same_parameters and there.active == before.active


def read_schedules(deployment: str, entries: object) -> tuple[Schedule, ...]:
    """The schedules of a block.

    Args:
        deployment: Name of the block, for the messages.
        entries: What stands under `schedules`.

    Raises:
        ConfigError: One has no slug, a slug comes twice, or a rule or time zone cannot be used.
    """
    schedules: list[Schedule] = []
    for entry in entries or () if isinstance(entries, list | None) else (entries,):
        if not isinstance(entry, Mapping):
            raise ConfigError(
                f"{deployment} has the schedule {entry!r}; expected a mapping such as "
                '{slug: nightly, cron: "0 2 * * *", timezone: UTC}.'
            )
        schedule = _read(deployment, entry)
        if schedule.slug in {other.slug for other in schedules}:
            raise ConfigError(
                f"{deployment} has two schedules with the slug {schedule.slug!r}; expected one of "
                "its own for each. Rename one."
            )
        schedules.append(schedule)
    return tuple(schedules)


def _read(deployment: str, entry: Mapping[str, Any]) -> Schedule:
    kinds = [kind for kind in KINDS if kind in entry]
    if len(kinds) != 1:
        raise ConfigError(
            f"{deployment} has a schedule with {' and '.join(kinds) or 'no rule'}; expected one of "
            f'{", ".join(KINDS)}, such as cron: "0 2 * * *".'
        )
    for key in entry:
        if key not in (*KEYS, "parameters"):
            raise ConfigError(
                f"Unknown key {key!r} in a schedule of {deployment}.{nearest(str(key), KEYS)} "
                f"Known: {', '.join(KEYS)}, parameters."
            )
    if not entry.get("slug"):
        raise ConfigError(
            f"The schedule {entry[kinds[0]]!r} of {deployment} has no slug; expected a short name, "
            "without which it would be made anew at each deploy. "
            f"Add slug: {_proposed(kinds[0], entry)}."
        )
    try:
        rule = written(_rule(kinds[0], entry))
    except (ValidationError, ValueError, TypeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigError(
            f"The schedule {entry['slug']!r} of {deployment} cannot be used: "
            f"{' '.join(reason.split()).removeprefix('Value error, ')}. Received "
            f"{kinds[0]}={entry[kinds[0]]!r}, timezone={entry.get('timezone', 'UTC')!r}; expected "
            'a rule such as cron: "0 2 * * *" and a zone such as Europe/Berlin.'
        ) from error
    return Schedule(
        slug=str(entry["slug"]),
        rule=rule,
        parameters=dict(entry.get("parameters") or {}),
        active=bool(entry.get("active", True)),
    )


def _rule(kind: str, entry: Mapping[str, Any]) -> "SCHEDULE_TYPES":
    from datetime import timedelta

    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

    zone = entry.get("timezone") or "UTC"
    if kind == "cron":
        day_or = entry.get("day_or", True)
        return CronSchedule(cron=str(entry["cron"]), timezone=zone, day_or=day_or)
    if kind == "rrule":
        return RRuleSchedule(rrule=str(entry["rrule"]), timezone=zone)
    anchor = entry.get("anchor_date") or ANCHOR
    interval = timedelta(seconds=float(entry["interval"]))
    return IntervalSchedule(interval=interval, anchor_date=anchor, timezone=zone)


def written(rule: "SCHEDULE_TYPES") -> dict[str, Any]:
    """A rule as values that can be compared and kept.

    Args:
        rule: A schedule as Prefect's client has it.
    """
    values: dict[str, Any] = rule.model_dump(mode="json")
    if "anchor_date" in values:
        # the same moment is written in several ways
        values["anchor_date"] = rule.anchor_date.astimezone(UTC).isoformat()  # type: ignore[union-attr]
    return values


def from_server(schedules: Sequence["DeploymentSchedule"]) -> tuple[Schedule, ...]:
    """The schedules of a deployment as the server has them."""
    return tuple(
        Schedule(
            slug=schedule.slug or None,
            rule=written(schedule.schedule),
            parameters=schedule.parameters or {},
            active=bool(schedule.active),
            identity=str(schedule.id),
        )
        for schedule in schedules
    )


def _proposed(kind: str, entry: Mapping[str, Any]) -> str:
    """A slug for a schedule that has none."""
    if kind != "cron":
        return {"interval": "regularly", "rrule": "calendar"}[kind]
    fields = str(entry["cron"]).split()
    match fields:
        case [_, _, day, _, _] if day != "*":
            return "monthly"
        case [_, _, _, _, weekday] if weekday != "*":
            return "weekly"
        case [_, hour, _, _, _] if hour.isdigit():
            return "nightly" if int(hour) < EARLY else "daily"
    return "hourly"


def next_run(schedules: Sequence[Schedule]) -> datetime | None:
    """The next moment at which one of the active schedules is due, in its own time zone."""
    import asyncio
    from zoneinfo import ZoneInfo

    from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

    kinds: dict[str, type[CronSchedule | IntervalSchedule | RRuleSchedule]] = {
        "cron": CronSchedule, "interval": IntervalSchedule, "rrule": RRuleSchedule,
    }  # fmt: skip
    moments = []
    for schedule in schedules:
        if schedule.active:
            kind = next(kinds[kind] for kind in KINDS if kind in schedule.rule)
            dates = asyncio.run(kind.model_validate(schedule.rule).get_dates(n=1))
            zone = ZoneInfo(schedule.rule.get("timezone") or "UTC")
            moments += [date.astimezone(zone) for date in dates]
    return min(moments, default=None)
