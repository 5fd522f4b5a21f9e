"""The processes of a training wait for each other, so that one that does not come can be named.

JAX waits for all as well, and ends a process whose patience is over without saying for whom.
"""

import contextlib
import logging
import socket
import time

SECONDS_BETWEEN_TRIES = 0.5
# whoever connects says its number at once
SECONDS_TO_SAY = 5.0
ALL_THERE = "all there"
logger = logging.getLogger(__name__)


class MissingProcessError(TimeoutError):
    """Not all processes of a training have come in time."""


def gather(coordinator: str, count: int, index: int, seconds: float) -> None:
    """Returns once all processes are there; the first listens at its address until then.

    Args:
        coordinator: Host and port of the first process.
        count: Processes in all.
        index: Of this one, from 0.
        seconds: How long to wait.

    Raises:
        MissingProcessError: They are not; it says which.
        OSError: The first cannot listen at its port.
    """
    host, _, port = coordinator.rpartition(":")
    deadline = time.monotonic() + seconds
    if index == 0:
        _wait_for_others(int(port), count, deadline)
        return
    answer = ""
    while not answer:
        if time.monotonic() > deadline:
            raise MissingProcessError(
                f"the first process was not there at {coordinator} within {seconds:g} s"
            )
        answer = _answer(host.strip("[]"), int(port), index, deadline)
    if answer != ALL_THERE:
        raise MissingProcessError(answer)


def _wait_for_others(port: int, count: int, deadline: float) -> None:
    """As the first: until each of the others has connected and said its number."""
    seconds = deadline - time.monotonic()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_listening(port))
        there: dict[int, socket.socket] = {}
        while missing := [number for number in range(1, count) if number not in there]:
            server.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                connection = stack.enter_context(server.accept()[0])
            except TimeoutError:
                numbers = ", ".join(str(number + 1) for number in missing)
                said = f"of {count} processes, number {numbers} did not come within {seconds:g} s"
                _say(there, said)
                raise MissingProcessError(said) from None
            number = _number(connection)
            if number in missing or number in there:
                # one that is started anew takes its own place
                there[number] = connection
                logger.info("%d of %d processes are there", len(there) + 1, count)
        _say(there, ALL_THERE)


def _listening(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _number(connection: socket.socket) -> int:
    """What a process that connects says; -1 where that is none."""
    connection.settimeout(SECONDS_TO_SAY)
    with contextlib.suppress(OSError, ValueError):
        return int(connection.makefile("r").readline(16))
    return -1


def _say(connections: dict[int, socket.socket], said: str) -> None:
    for connection in connections.values():
        # of one that is gone since, JAX hears
        with contextlib.suppress(OSError):
            connection.sendall(said.encode() + b"\n")


def _answer(host: str, port: int, index: int, deadline: float) -> str:
    """What the first process says once it is known whether all are there; empty if it is not."""
    left = max(deadline - time.monotonic(), 0.001)
    try:
        with socket.create_connection((host, port), min(left, SECONDS_TO_SAY)) as connection:
            connection.sendall(b"%d\n" % index)
            # the first is the one to lose patience, as it knows for whom
            connection.settimeout(left + SECONDS_TO_SAY)
            answer = connection.makefile("r").readline().strip()
    except (OSError, ValueError):
        answer = ""
    if not answer:
        time.sleep(SECONDS_BETWEEN_TRIES)
    return answer
