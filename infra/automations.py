"""The automations that a stack has: crashed runs are found and go on, and people are told."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from infra import notifications
from tasks import announcements
from tasks.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import Automation, AutomationCore

TAG = "roundhouse"
PREFIX = "roundhouse: "
SILENCE = "a run without a sign of life has crashed"
RETRY = "a crashed run goes on"
TELL = PREFIX + "tell of "
FLOW_RUN = "prefect.flow-run"
MISSED_HEARTBEATS = 3
# a worker that takes a run and dies leaves it as pending for ever; a cluster may take minutes
LONGEST_START = timedelta(minutes=10)
# how often a run has begun when it goes on by itself; the last time, it says that this was enough
RUN_COUNTS = ["0", "1", "2", "3", "4"]
# a process that is killed, or short of memory, never ends with this code
NOT_BY_ITSELF = "!*status code* 1.*"
# a failure that has its own message; Prefect puts the exception's name into the state's
FAILED_CHECKS = "*DataCheckFailed:*"
ENCOUNTERED = "Flow run encountered an exception: "
OURS = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
# what a run must come from to be started by a worker
DEPLOYMENT = {"prefect.resource.role": "deployment"}


def apply_automations(client: "SyncPrefectClient", settings: Settings) -> list[str]:
    """Puts the automations on the server that are missing or have changed; repeatable.

    One that is switched off in the pages stays off; those of other names are left alone, and so is
    what a setting decides that is not given.

    Args:
        client: A client for the Prefect API that this process uses.
        settings: Places and addresses.

    Returns:
        A sentence per automation that was created, changed or removed.

    Raises:
        ConfigError: The address to notify is none that anything could be sent to.
    """
    existing = _existing(client)
    settings = _as_served(settings, existing)
    tell = {name for name in existing if name.startswith(TELL)}
    # an address that nothing can be sent to must not cost the crashed runs their automations
    crashes = {name: existing[name] for name in existing.keys() - tell}
    sentences = _apply(client, crashes, _crashes(settings))
    if "notify" in settings.model_fields_set:
        block, said = notifications.apply_block(client, settings)
        messages = () if block is None else _messages(block)
        sentences += said + _apply(client, {name: existing[name] for name in tell}, messages)
    return sentences


def as_served(client: "SyncPrefectClient", settings: Settings) -> Settings:
    """The settings with what the server's automations say, where a setting is not given.

    Args:
        client: A client for the Prefect API that this process uses.
        settings: Places and addresses.
    """
    return _as_served(settings, _existing(client))


def automation_names(settings: Settings) -> tuple[str, ...]:
    """Names of the automations that a stack with these settings has."""
    messages = _messages(UUID(int=0)) if settings.notify else ()
    return tuple(automation.name for automation in (*_crashes(settings), *messages))


def _existing(client: "SyncPrefectClient") -> "dict[str, Automation]":
    return {
        automation.name: automation
        for automation in client.read_automations(limit=200)
        if automation.name.startswith(PREFIX)
    }


def _as_served(settings: Settings, existing: "Mapping[str, Automation]") -> Settings:
    silence = existing.get(PREFIX + SILENCE)
    window = getattr(silence and silence.trigger, "within", None)
    if window is None:
        return settings
    there = {
        "heartbeat_seconds": int(window.total_seconds()) // MISSED_HEARTBEATS,
        "crashed_runs": "retry" if PREFIX + RETRY in existing else "leave",
    }
    given = settings.model_fields_set
    return settings.model_copy(update={k: v for k, v in there.items() if k not in given})


def _apply(
    client: "SyncPrefectClient",
    existing: "Mapping[str, Automation]",
    wanted: "Iterable[AutomationCore]",
) -> list[str]:
    """Makes one group of automations what it should be; a sentence per change."""
    sentences, names = [], set()
    for automation in wanted:
        name = automation.name
        names.add(name)
        found = existing.get(name)
        if found is None:
            client.create_automation(automation)
            sentences.append(f"created the automation {name!r}")
        elif _definition(found) != _definition(automation):
            client.update_automation(
                found.id, automation.model_copy(update={"enabled": found.enabled})
            )
            sentences.append(f"changed the automation {name!r}")
    for name in sorted(existing.keys() - names):
        client.delete_automation(existing[name].id)
        sentences.append(f"removed the automation {name!r}")
    return sentences


def _definition(automation: "AutomationCore") -> dict[str, Any]:
    """What an automation does, whether or not it is switched on."""
    from prefect.events.schemas.automations import AutomationCore

    content = AutomationCore.model_validate(automation.model_dump(exclude={"id", "enabled"}))
    plain = content.model_dump(mode="json", exclude={"enabled"})
    # sets come in any order
    for name in ("after", "expect", "for_each"):
        plain["trigger"][name] = sorted(plain["trigger"][name])
    return plain


def _crashes(settings: Settings) -> Iterator["AutomationCore"]:
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState

    window = timedelta(seconds=MISSED_HEARTBEATS * settings.heartbeat_seconds)
    yield _automation(
        SILENCE,
        # never forced: a heartbeat that arrives after the end must not undo it
        _silence_after({f"{FLOW_RUN}.Running", f"{FLOW_RUN}.heartbeat"}, window),
        ChangeFlowRunState(
            state=StateType.CRASHED,
            name="Crashed",
            message=f"No sign of life for {window.seconds} seconds.",
        ),
        "Its process, or the machine, is gone.",
    )
    yield _automation(
        "a run that never began has crashed",
        _silence_after({f"{FLOW_RUN}.Pending", f"{FLOW_RUN}.Submitting"}, LONGEST_START),
        ChangeFlowRunState(
            state=StateType.CRASHED,
            name="Crashed",
            message=f"Taken by a worker, and not begun within {LONGEST_START.seconds} seconds.",
        ),
        "Its worker ended between taking it and starting it.",
    )
    if settings.crashed_runs == "retry":
        # one whose code cannot be imported, say, would begin and crash for ever
        curable: dict[str, str | list[str]] = {
            "prefect.run-count": RUN_COUNTS,
            "prefect.state-message": NOT_BY_ITSELF,
        }
        yield _automation(
            RETRY,
            _on_state("Crashed", DEPLOYMENT, **curable),
            ChangeFlowRunState(
                state=StateType.SCHEDULED,
                name="AwaitingRetry",
                message="Its process ended; it goes on from its last finished stage.",
            ),
            "The same run starts again, three times at most; ROUNDHOUSE_CRASHED_RUNS=leave "
            "leaves it.",
        )


def _messages(block: UUID) -> Iterator["AutomationCore"]:
    """The messages: what happened, why in a sentence, and where to look."""
    from prefect.events.actions import SendNotification

    pages = _pages()
    links = (
        f"Prefect run: {pages}/runs/flow-run/{{{{ flow_run.id }}}}\n"
        "MLflow run: {{ flow_run.labels['" + announcements.MLFLOW_LABEL + "'] or 'none' }}"
    )
    reason = "{{ flow_run.state.message | replace('" + ENCOUNTERED + "', '') }}"
    pipeline = "{{ flow_run.parameters['pipeline'] }}"
    for state, what in (("Failed", "a run failed"), ("Crashed", "a run crashed")):
        yield _automation(
            f"tell of {what.removeprefix('a ')}".replace("run ", "a run that "),
            _on_state(state, **{"prefect.state-message": f"!{FAILED_CHECKS}"}),
            SendNotification(
                block_document_id=block,
                subject=f"{pipeline}: {what}",
                body=f"{{{{ flow_run.name }}}}: {reason}\n\n{links}",
            ),
        )
    for event, name, what in (
        (announcements.CHECKS_FAILED, "failed checks", "checks failed"),
        (announcements.CHAMPION_PROMOTED, "a new champion", "new champion"),
        (announcements.CHAMPION_ROLLED_BACK, "a rollback", "rolled back"),
        (announcements.GATE_LOST, "a lost gate", "gate lost"),
    ):
        yield _automation(
            f"tell of {name}",
            _on_event(event),
            SendNotification(
                block_document_id=block,
                subject=f"{{{{ event.payload.pipeline }}}}: {what}",
                body="{{ event.payload.sentence }}\n\nPrefect run: {{ event.payload.prefect }}\n"
                "MLflow: {{ event.payload.mlflow }}",
            ),
        )


def _pages() -> str:
    """Where the Prefect pages are, as this process's settings have it."""
    from prefect.settings import get_current_settings

    current = get_current_settings()
    return current.ui_url or (current.api.url or "").removesuffix("/api")


def _automation(name: str, trigger: Any, action: Any, description: str = "") -> "AutomationCore":
    from prefect.events.schemas.automations import AutomationCore

    return AutomationCore(
        name=PREFIX + name,
        description=description,
        enabled=True,
        tags=[TAG],
        trigger=trigger,
        actions=[action],
    )


def _silence_after(events: set[str], window: timedelta) -> Any:
    """Fires when a run of ours sends one of the events, and then nothing at all for a while."""
    from prefect.events.schemas.automations import EventTrigger, Posture

    return EventTrigger(
        after=events,
        expect={f"{FLOW_RUN}.*"},
        match={"prefect.resource.id": f"{FLOW_RUN}.*"},
        match_related=OURS,
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=window,
    )


def _on_state(state: str, *related: dict[str, str], **labels: str | list[str]) -> Any:
    """Fires whenever a run of ours comes to a state."""
    from prefect.events.schemas.automations import EventTrigger, Posture

    return EventTrigger(
        expect={f"{FLOW_RUN}.{state}"},
        match={"prefect.resource.id": f"{FLOW_RUN}.*", **labels},
        match_related=[OURS, *related],
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )


def _on_event(event: str) -> Any:
    """Fires whenever something that we announce happened."""
    from prefect.events.schemas.automations import EventTrigger, Posture

    return EventTrigger(
        expect={event},
        match={"prefect.resource.id": f"{announcements.RESOURCE}.*"},
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
