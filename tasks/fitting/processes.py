"""Several processes that train one network, by JAX: they join, and end together.

All of them run the same steps on the same network, each on its part of the rows. Where one of them
dies, the others cannot go on: they end as well, and all are started again at the last checkpoint.
"""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import keras
import numpy as np

from tasks.fitting.gathering import gather

# a process that has not been heard of for so long is dead; a broken connection is noticed at once
HEARTBEAT_SECONDS = 60
# machines may have to be started, and the image pulled on each; then all are there
GATHERING_SECONDS, JOINING_SECONDS = 1800, 300
# what all fail by, each is to say by itself: the first one's end ends the others
SECONDS_FOR_OTHERS = 3.0
# of sysexits.h: a configuration error, which no other attempt mends
EXIT_PERMANENT = 78
# as of a process that is told to end
EXIT_TERMINATED = 143
logger = logging.getLogger(__name__)


class ProcessesDisagreeError(RuntimeError):
    """Processes of one training have found different checkpoints."""


def join(coordinator: str, count: int, index: int) -> None:
    """Becomes one of several processes; to be called before anything else uses JAX.

    From here on, what reads or changes a network is done by all of them, or they wait for ever.

    Args:
        coordinator: Host and port of the first process.
        count: Processes in all.
        index: Of this one, from 0.

    Raises:
        MissingProcessError: Not all have come in time.
        RuntimeError: JAX is in use already.
    """
    if count == 1:
        return
    import jax

    gather(coordinator, count, index, GATHERING_SECONDS)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # it takes SIGTERM for itself, and a process that is told to end would not
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        coordinator,
        count,
        index,
        initialization_timeout=JOINING_SECONDS,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
    )
    logger.info("Process %d of %d; %d devices in all", index + 1, count, jax.device_count())


def is_first() -> bool:
    """Whether this process is the one that logs and stores, as it is where there is only one."""
    if keras.config.backend() != "jax":
        return True
    import jax

    return bool(jax.process_index() == 0)


def as_by_first(values: dict[str, float]) -> dict[str, float]:
    """Figures as the first process has them, by which all then decide alike.

    What each computes whole can differ in its last digit between kinds of processors, and where one
    stopped on that the others would wait for it.

    Args:
        values: Of this process, float32 each; their names are the same in all of them.
    """
    if not _are_several():
        return values
    from jax.experimental import multihost_utils

    names = sorted(values)
    own = np.array([values[name] for name in names], np.float32)
    shared = np.asarray(multihost_utils.broadcast_one_to_all(own))
    return {name: float(value) for name, value in zip(names, shared, strict=True)}


def require_same(epochs: int) -> None:
    """Makes sure that all processes go on from the same epoch.

    Raises:
        ProcessesDisagreeError: They do not.
    """
    if not _are_several():
        return
    from jax.experimental import multihost_utils

    found = np.asarray(multihost_utils.process_allgather(np.int32(epochs))).ravel()
    if len(set(found.tolist())) > 1:
        raise ProcessesDisagreeError(
            "the checkpoints that the processes found are of the epochs "
            f"{', '.join(map(str, found))}; expected the same. Give all the same storage"
        )


def wait_for_all() -> None:
    """Returns once all processes have come here."""
    if _are_several():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices("all")


def run_and_leave(
    work: Callable[[], None],
    permanent: tuple[type[Exception], ...],
    last_words: Path | None = None,
) -> NoReturn:
    """Does the work of one of several processes and ends the process, by its exit status.

    0 is success, 78 an error that another attempt does not mend, 1 anything else. A process that
    fails leaves at once, the first one some seconds later: the usual way out waits minutes for
    those that it has failed.

    Args:
        work: What is done.
        permanent: Errors that no other attempt mends.
        last_words: A file that is left the error, as JSON: its class's name, what it says.
    """
    try:
        work()
        # JAX aborts those that leave while one of them is missing
        wait_for_all()
    except permanent as error:
        logger.error("%s: %s", type(error).__name__, error)
        status, failure = EXIT_PERMANENT, (type(error).__name__, str(error))
    except BaseException as error:
        logger.exception("This process of the training failed, and so do the others")
        status, failure = 1, (type(error).__name__, str(error))
    else:
        sys.exit(0)
    if last_words:
        last_words.write_text(json.dumps(failure))
    logging.shutdown()
    if _are_several() and is_first():
        time.sleep(SECONDS_FOR_OTHERS)
    os._exit(status)


def end_with_parent() -> None:
    """Ends this process once the one that started it does, however that ends.

    To be called by one whose standard input is a pipe that nothing is written into.
    """

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os._exit(EXIT_TERMINATED)

    threading.Thread(target=wait, daemon=True, name="parent").start()


def _are_several() -> bool:
    if keras.config.backend() != "jax":
        return False
    import jax

    return bool(jax.distributed.is_initialized())
