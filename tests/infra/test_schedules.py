from dataclasses import replace
from typing import Any

import pytest

from infra.schedules import Merge, Schedule, merge, next_run, read_schedules
from tasks.errors import ConfigError


def file(slug: str = "nightly", cron: str = "0 2 * * *", **more: Any) -> Schedule:
    (schedule,) = read_schedules("digits", [{"slug": slug, "cron": cron, **more}])
    return schedule


def server(schedule: Schedule, **changes: Any) -> Schedule:
    return replace(schedule, **{"identity": f"id-{schedule.slug}", **changes})


NIGHTLY = file()
LATER = file(cron="0 5 * * *")


def test_nothing_changed_means_nothing_to_do() -> None:
    assert merge([NIGHTLY], [NIGHTLY], [server(NIGHTLY)]) == Merge()


def test_a_schedule_paused_in_the_ui_stays_paused() -> None:
    paused = server(NIGHTLY, active=False)
    assert merge([NIGHTLY], [NIGHTLY], [paused]) == Merge()
    changed = merge([LATER], [NIGHTLY], [paused])
    assert [(s.rule["cron"], s.active) for s in changed.update] == [("0 5 * * *", False)]


def test_a_schedule_changed_in_the_ui_stays_so_and_is_told() -> None:
    plan = merge([NIGHTLY], [NIGHTLY], [server(LATER)])
    assert plan == Merge(kept=("schedule nightly was changed in the UI and stays so",))


def test_a_schedule_changed_in_the_file_is_applied_to_the_one_that_is_there() -> None:
    plan = merge([LATER], [NIGHTLY], [server(NIGHTLY)])
    assert plan == Merge(update=(server(LATER),))


def test_a_schedule_added_in_the_ui_stays_and_gets_a_slug_of_its_own() -> None:
    mine = server(LATER, slug=None, identity="mine")
    named = replace(mine, slug="made-in-ui-1")
    assert merge([NIGHTLY], [NIGHTLY], [server(NIGHTLY), mine]) == Merge(update=(named,))
    assert merge([], [], [named, mine]) == Merge(update=(replace(mine, slug="made-in-ui-2"),))
    assert merge([NIGHTLY], [NIGHTLY], [server(NIGHTLY), named]) == Merge()


def test_a_new_schedule_of_the_file_takes_over_its_nameless_twin() -> None:
    mine = server(LATER, slug=None, identity="mine", active=False)
    plan = merge([LATER], [], [mine])
    assert plan == Merge(update=(replace(mine, slug="nightly"),))


def test_a_schedule_deleted_in_the_ui_stays_deleted_until_the_file_changes_it() -> None:
    plan = merge([NIGHTLY], [NIGHTLY], [])
    assert plan == Merge(kept=("schedule nightly was deleted in the UI and stays deleted",))
    assert merge([LATER], [NIGHTLY], []) == Merge(create=(LATER,))


def test_a_schedule_that_left_the_file_goes_unless_it_was_changed_in_the_ui() -> None:
    assert merge([], [NIGHTLY], [server(NIGHTLY)]) == Merge(delete=(server(NIGHTLY),))
    for changed in (server(LATER), server(NIGHTLY, active=False)):
        plan = merge([], [NIGHTLY], [changed])
        assert plan.delete == ()
        assert "left the file, but was changed in the UI" in plan.kept[0]


def test_the_file_pauses_and_lifts_its_own_pause_alone() -> None:
    paused = file(active=False)
    assert merge([paused], [NIGHTLY], [server(NIGHTLY)]).update == (server(paused),)
    assert merge([NIGHTLY], [paused], [server(paused)]).update == (server(NIGHTLY),)


def test_parameters_that_a_switch_in_the_ui_emptied_come_back() -> None:
    weekly = file(parameters={"force": True})
    plan = merge([weekly], [weekly], [server(weekly, parameters={}, active=False)])
    assert plan == Merge(update=(server(weekly, active=False),))


def test_after_a_plain_prefect_deploy_the_file_is_applied_and_nothing_is_dropped_or_resumed() -> (
    None
):
    other = server(file("other"))
    plan = merge([LATER, file("new")], None, [server(NIGHTLY, active=False), other])
    assert plan == Merge(create=(file("new"),), update=(server(LATER, active=False),))


@pytest.mark.parametrize(
    "entry",
    [
        {"slug": "often", "interval": 3600, "timezone": "Europe/Berlin"},
        {"slug": "calendar", "rrule": "FREQ=DAILY;BYHOUR=3", "timezone": "Europe/Berlin"},
        {"slug": "nightly", "cron": "0 2 * * *", "timezone": "Europe/Berlin"},
    ],
)
def test_each_kind_reads_the_same_each_time_and_has_a_next_run(entry: dict[str, Any]) -> None:
    first, second = read_schedules("digits", [entry]), read_schedules("digits", [entry])
    assert first == second
    due = next_run(first)
    assert due is not None
    assert str(due.tzinfo) == "Europe/Berlin"


def test_a_paused_schedule_has_no_next_run() -> None:
    assert next_run([file(active=False)]) is None


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"cron": "0 2 * * *"}, "has no slug.*Add slug: nightly"),
        ({"cron": "0 14 * * *"}, "Add slug: daily"),
        ({"cron": "0 3 * * 0"}, "Add slug: weekly"),
        ({"cron": "0 3 1 * *"}, "Add slug: monthly"),
        ({"cron": "5 * * * *"}, "Add slug: hourly"),
        ({"slug": "x", "cron": "61 2 * * *"}, "'x' of digits cannot be used.*cron='61 2"),
        ({"slug": "x", "cron": "0 2 * * *", "timezone": "Mars"}, "timezone='Mars'.*Europe/Berlin"),
        ({"slug": "x", "rrule": "NONSENSE"}, "rrule='NONSENSE'"),
        ({"slug": "x", "interval": -5}, "interval=-5"),
        ({"slug": "x"}, "with no rule; expected one of cron, interval, rrule"),
        ({"slug": "x", "cron": "0 2 * * *", "interval": 5}, "with cron and interval"),
        ({"slug": "x", "cron": "0 2 * * *", "timezon": "UTC"}, "Did you mean 'timezone'"),
        ("0 2 * * *", "expected a mapping such as"),
    ],
)
def test_a_schedule_that_cannot_be_used_gets_one_sentence(entry: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        read_schedules("digits", [entry])
    assert "\n" not in str(caught.value)


def test_two_schedules_need_two_slugs() -> None:
    twice = [{"slug": "x", "cron": "0 2 * * *"}, {"slug": "x", "cron": "0 3 * * *"}]
    with pytest.raises(ConfigError, match="two schedules with the slug 'x'"):
        read_schedules("digits", twice)
