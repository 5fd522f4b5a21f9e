"""What makes a function a stage: a Prefect task whose hand-off is reused if nothing changed.

A hand-off is recalled under a key of our own: the digest of the stage's inputs, the code it uses
and the lock file. Prefect's default key includes the run's id, so it never hits across runs, and
hashes only the task's own lines (https://docs.prefect.io/v3/concepts/caching).
"""

import functools
import hashlib
import inspect
import json
import logging
import time
import typing
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.states import Completed

from tasks import tracking
from tasks.errors import RoundhouseError, ServiceError
from tasks.evidence import outcome_of
from tasks.fingerprints import by_content, code_digest, environment_digest
from tasks.handoffs import Handoff, RunContext, StoredFile
from tasks.storage import Storage

P = ParamSpec("P")
R = TypeVar("R", bound=Handoff)
RETRIES, RETRY_DELAYS_SECONDS = 2, (2.0, 10.0)
logger = logging.getLogger(__name__)


class Stage(Task[P, R]):
    """A Prefect task that gives its caller the hand-off, also where its state says Cached."""

    code: tuple[str, ...] = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]
        """Runs the stage in the current flow run and returns its hand-off."""
        outcome: Any = super().__call__(*args, **kwargs)
        if isinstance(outcome, State):
            outcome = typing.cast(Any, outcome.data).result
        return typing.cast(R, outcome)


def stage(
    *, code: tuple[str, ...], reuse: bool = True
) -> Callable[[Callable[Concatenate[RunContext, P], R]], Stage[Concatenate[RunContext, P], R]]:
    """Makes a function a stage.

    The function's first argument is the run it belongs to; the others are hand-offs and
    configurations, from which the key is made. Only an error that a retry may cure is retried.

    Args:
        code: Modules and packages whose change makes an earlier hand-off worthless; the function's
            own module is always among them.
        reuse: Whether an earlier hand-off may be recalled at all.
    """

    def decorate(
        function: Callable[Concatenate[RunContext, P], R],
    ) -> Stage[Concatenate[RunContext, P], R]:
        returns = typing.get_type_hints(function)["return"]
        modules = (function.__module__, *code)

        @functools.wraps(function)
        def run(context: RunContext, *args: P.args, **kwargs: P.kwargs) -> R:
            started, name = time.perf_counter(), function.__name__
            logger.info("%s started", name, extra={"stage": name, "event": "started"})
            may_recall = reuse and not context.isolated
            key = _key(function, modules, context, args, kwargs) if may_recall else ""
            record = f"{name}/{key}" if key else None
            make = functools.partial(function, context, *args, **kwargs)
            handoff, recalled = _obtained(context, record, returns, make)
            tracking.log_handoff(context, name, handoff, recalled=recalled)
            _tell_end(context, name, handoff, time.perf_counter() - started, recalled=recalled)
            if recalled and TaskRunContext.get() is not None:
                return typing.cast(R, Completed(name="Cached", data=handoff))
            return typing.cast(R, handoff)

        made = Stage(
            run,
            name=function.__name__.replace("_", " "),
            task_run_name=function.__name__.replace("_", " "),
            description=inspect.getdoc(function),
            retries=RETRIES,
            retry_delay_seconds=list(RETRY_DELAYS_SECONDS),
            retry_condition_fn=may_be_cured,
            persist_result=False,
        )
        made.code = modules
        return made

    return decorate


def _obtained(
    context: RunContext, record: str | None, returns: type[R], make: Callable[[], R]
) -> tuple[R, bool]:
    """The hand-off, and whether an earlier run had made it.

    Args:
        context: The run.
        record: Name under which it is kept; None where it is made anew each time.
        returns: Its type.
        make: Makes it.
    """
    storage, kept = Storage(context.storage_uri), _recallable(context, record)
    if kept and (earlier := _recall(storage, kept, returns)):
        return earlier, True
    try:
        handoff = make()
    except RoundhouseError as error:
        tracking.log_evidence(context, error)
        raise
    for name in filter(None, {record, kept}):
        storage.write_record(name, handoff.model_dump_json())
    return handoff, False


def _recallable(context: RunContext, record: str | None) -> str | None:
    """Name of what may be recalled; of a forced run, only what its own attempts have made."""
    if record is None or not context.force:
        return record
    return f"forced/{context.attempt_of}/{record}" if context.attempt_of else None


def _tell_end(
    context: RunContext, name: str, handoff: Handoff, seconds: float, *, recalled: bool
) -> None:
    tracking.log_stage_seconds(context, name, seconds)
    event, outcome = "reused" if recalled else "finished", outcome_of(handoff)
    extra = {"stage": name, "event": event, "seconds": seconds, "outcome": outcome}
    logger.info("%s %s in %.1f s: %s", name, event, seconds, outcome, extra=extra)


def _key(
    function: Callable[..., Any],
    modules: tuple[str, ...],
    context: RunContext,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> str:
    bound = inspect.signature(function).bind(context, *args, **kwargs)
    bound.apply_defaults()
    inputs = by_content(dict(list(bound.arguments.items())[1:]))
    parts = [inputs, code_digest(modules), environment_digest()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _recall(storage: Storage, record: str, returns: type[R]) -> R | None:
    """The earlier hand-off, if there is one and every file that it points to is still there."""
    content = storage.read_record(record)
    if content is None:
        return None
    try:
        handoff = returns.model_validate_json(_at_todays_place(storage, content))
    except ValueError:  # of JSON or of pydantic
        logger.warning("The record %s cannot be read any more; the stage runs again", record)
        return None
    if all(storage.has(file) for file in handoff.stored_files()):
        return handoff
    logger.warning("Files of the record %s are gone; the stage runs again", record)
    return None


def _at_todays_place(storage: Storage, record: str) -> str:
    """A record with its stored files in this storage, which may have moved since."""

    def move(value: dict[str, Any]) -> dict[str, Any]:
        if value.keys() != StoredFile.model_fields.keys():
            return value
        return storage.own(StoredFile(**value)).model_dump()

    return json.dumps(json.loads(record, object_hook=move))


def is_last_try() -> bool:
    """Whether a failure of the current task is final, even if a retry might cure it."""
    current = TaskRunContext.get()
    return current is None or current.task_run.run_count > RETRIES


def may_be_cured(task: Any, run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed stage is worth another try: only when a service did not answer."""
    try:
        state.result()
    except ServiceError:
        return True
    except Exception:  # the failure itself is raised by the engine
        return False
    return False
