"""Ctrl-C at a moment that breaks nothing."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

POSTPONED_SECONDS = 0.02


@contextlib.contextmanager
def orderly_interrupts() -> Iterator[None]:
    """While it lasts, Ctrl-C raises KeyboardInterrupt, but never in the middle of a log record.

    Python raises it between any two instructions, also where the logging module has just taken its
    lock; no other thread could log from then on, and the process would never end.
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


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _is_logging(frame):
        # a timer of the system: one of Python's would need locks itself
        signal.setitimer(signal.ITIMER_REAL, POSTPONED_SECONDS)
        return
    raise KeyboardInterrupt


def _is_logging(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") == "logging":
            return True
        frame = frame.f_back
    return False
