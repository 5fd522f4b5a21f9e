"""What a user's wish to end does: Ctrl-C at a moment that breaks nothing, or a call of ours."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

POSTPONED_SECONDS = 0.02
# packages that hold a lock while they work: of the log, and of MLflow's database
LOCKING = ("logging", "sqlalchemy", "mlflow.store")
# Ctrl-C, an ordinary kill, and a terminal that was closed
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def orderly_interrupts() -> Iterator[None]:
    """While it lasts, Ctrl-C raises KeyboardInterrupt, but not in the middle of a record.

    Python raises it between any two instructions, also where the logging module has just taken its
    lock, or a transaction that of MLflow's database; nobody could log from then on, and the process
    would never end, or wait a minute to say how it ended.
    """
    found = {
        number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGALRM)
    }
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in found.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def at_endings(act: Callable[[], None]) -> Iterator[None]:
    """While it lasts, whatever is to end this process calls a function instead.

    Args:
        act: The function; it may be called at any moment, and more than once.
    """
    found = {}
    for number in ENDINGS:
        # a shell that starts us in the background has Ctrl-C ignored, which is not meant for us;
        # nohup has the closed terminal ignored, and means it
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            found[number] = signal.signal(number, lambda *_: act())
    try:
        yield
    finally:
        for number, handler in found.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _holds_lock(frame):
        # a timer of the system: one of Python's would need locks itself
        signal.setitimer(signal.ITIMER_REAL, POSTPONED_SECONDS)
        return
    raise KeyboardInterrupt


def _holds_lock(frame: FrameType | None) -> bool:
    while frame is not None:
        name = f"{frame.f_globals.get('__name__')}."
        if any(name.startswith(f"{package}.") for package in LOCKING):
            return True
        frame = frame.f_back
    return False
