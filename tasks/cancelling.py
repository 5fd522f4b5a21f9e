"""The last line against a cancelled training that keeps its GPU: it looks, and ends its process.

Cancelling a run ends its process, by the worker's program beside it or by the watch over a cluster.
Where neither can, because it hangs or hears nothing, a thread of the training itself does.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling

from tasks import tracking
from tasks.handoffs import RunContext

SECONDS_BETWEEN_LOOKS = 15.0
# whoever ends processes in order has this long
PATIENCE_SECONDS = 30.0
TELLING_SECONDS = 15.0
STOPPED = (StateType.CANCELLING, StateType.CANCELLED)
# a run that one of these has ended needs no training any more
OVER = (*STOPPED, StateType.FAILED, StateType.COMPLETED)
# as of a process that is told to end
EXIT_CODE = 143
logger = logging.getLogger(__name__)


@contextlib.contextmanager
def ended_when_cancelled(context: RunContext) -> Iterator[None]:
    """While it lasts, a run that is cancelled does not outlive that by more than a minute.

    That of a run that nobody waits for any more neither. Runs without a deployment are ended by the
    person who started them.

    Args:
        context: The run.
    """
    run_id, parent_id = runtime.flow_run.id, runtime.flow_run.parent_flow_run_id
    if not run_id or not runtime.deployment.id:
        yield
        return
    over = threading.Event()
    watched = UUID(run_id), UUID(parent_id) if parent_id else None
    threading.Thread(
        target=copy_context().run,
        args=(_look, over, context, *watched),
        daemon=True,
        name="cancelling",
    ).start()
    try:
        yield
    finally:
        over.set()


def _look(over: threading.Event, context: RunContext, run_id: UUID, parent_id: UUID | None) -> None:
    cancelled_since: float | None = None
    with get_client(sync_client=True) as client:
        while not over.wait(SECONDS_BETWEEN_LOOKS):
            try:
                if cancelled_since is None and _is_cancelled(client, run_id, parent_id):
                    logger.warning("This run is cancelled; it ends")
                    cancelled_since = time.monotonic()
            except ObjectNotFound:
                logger.warning("This run, or the one that it trains for, is deleted; it ends")
                cancelled_since = time.monotonic()
            except Exception as error:
                # whatever a server or a proxy answers: this thread is the last that looks
                logger.debug("Whether the run is cancelled cannot be read: %r", error)
            if cancelled_since and not over.wait(PATIENCE_SECONDS):
                _end(client, context, run_id)


def _is_cancelled(client: SyncPrefectClient, run_id: UUID, parent_id: UUID | None) -> bool:
    state = client.read_flow_run(run_id).state
    if state and state.type in STOPPED:
        return True
    parent = client.read_flow_run(parent_id).state if parent_id else None
    if parent is None or parent.type not in OVER:
        return False
    # its worker's program hears of that, and ends it in order
    told: State[Any] = Cancelling(message="The run that it trains for has ended.")
    client.set_flow_run_state(run_id, told)
    return True


def _end(client: SyncPrefectClient, context: RunContext, run_id: UUID) -> None:
    """Says that the run is cancelled, and ends this process, whatever else it is doing."""
    sentence = "Cancelled; its process did not end by itself, and was ended."

    def tell() -> None:
        with contextlib.suppress(Exception):
            client.set_flow_run_state(run_id, Cancelled(message=sentence), force=True)
        tracking.fail_run(context.mlflow_uri, context.run_id, KeyboardInterrupt(sentence))

    # a server that hangs may not keep the GPU
    telling = threading.Thread(target=tell, daemon=True)
    telling.start()
    telling.join(TELLING_SECONDS)
    os._exit(EXIT_CODE)
