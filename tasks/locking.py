"""The lock of a registered model: of all who register or promote, one is at work.

On one machine a file lock does it, which a killed process gives back at once. It does not reach
another machine. MLflow has no lock, and a tag that two set is the last one's. So on a server all
who come take turns by Lamport's bakery algorithm, which needs no more than tags that each has to
himself: one draws a number above all others' and waits for the lower ones (L. Lamport, A New
Solution of Dijkstra's Concurrent Programming Problem, Communications of the ACM 17 (8), 1974).
"""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from tasks.errors import ServiceError
from tasks.remote import shown

# another's promotion predicts the test rows twice, and draws from them, while it holds the lock
LOCK_SECONDS = 900.0
CLAIM = "mlflow.roundhouse.claim."
SECONDS_BETWEEN_LOOKS, SECONDS_BETWEEN_RENEWALS = 0.5, 10.0
# a claim that nobody has renewed for so long, by the watch of the one who waits, is a dead one's
CLAIM_SECONDS = 60.0
# whoever has not renewed for so long gives up by itself, well before others may take over
GIVEN_UP_SECONDS = 40.0
logger = logging.getLogger(__name__)


class Tags(Protocol):
    """The tags of a registered model."""

    def read(self) -> Mapping[str, str]:
        """All of them, read afresh."""

    def write(self, key: str, value: str) -> None:
        """Sets one."""

    def remove(self, key: str) -> None:
        """Takes one away, if it is there."""


class Hold:
    """That the lock is held; asked before anything is written that must not be written twice."""

    def __init__(self, claim: "Claim | None" = None) -> None:
        self._claim = claim

    def require(self) -> None:
        """Makes sure that nobody else took over while this process stood still.

        Raises:
            ServiceError: Somebody may have.
        """
        if self._claim is not None and not self._claim.stands():
            raise ServiceError(
                f"This process stood still for more than {CLAIM_SECONDS:g} s and lost its turn at "
                "the model registry; expected it to keep it. Nothing was moved; it tries again."
            )


@contextlib.contextmanager
def locked(uri: str, name: str, tags: Tags) -> Iterator[Hold]:
    """While it lasts, no other process registers or promotes versions of a model.

    Args:
        uri: Address of the registry.
        name: The model's name.
        tags: Its tags; used on a server only, and the model must exist by then.

    Raises:
        ServiceError: Another process has held it for too long.
    """
    from filelock import FileLock, Timeout

    path = lock_path(uri, name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_SECONDS
    try:
        with FileLock(path, timeout=LOCK_SECONDS):
            if not uri.startswith(("http://", "https://")):
                yield Hold()
                return
            with Claim(tags, deadline) as claim:
                yield Hold(claim)
    except Timeout as error:
        raise _too_long(f"the lock {path}") from error


class Claim:
    """A place in the queue of a registered model, kept by renewing it; it is one's turn inside.

    Args:
        tags: Of the model.
        deadline: Moment of the monotonic clock until which the turn is waited for.
    """

    def __init__(self, tags: Tags, deadline: float) -> None:
        self._tags, self._deadline = tags, deadline
        self._key = CLAIM + uuid.uuid4().hex
        self._number, self._renewals = 0, 0
        self._renewed = time.monotonic()
        self._ended, self._lost = threading.Event(), False
        self._renewal = threading.Thread(target=self._renew, daemon=True, name="registry-claim")
        # of each other claim, what it said when, by our own clock
        self._seen: dict[str, tuple[str, float]] = {}

    def __enter__(self) -> "Claim":
        self._renewed = time.monotonic()
        self._write()
        try:
            self._number = 1 + max((n for n, _ in self._others().values()), default=0)
            self._write()
            self._renewal.start()
            self._wait()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._leave()

    def stands(self) -> bool:
        """Whether the claim is there still, and was renewed in time all along; once lost, ever."""
        self._lost = self._lost or self._key not in self._tags.read() or self._is_late()
        return not self._lost

    def _is_late(self) -> bool:
        return time.monotonic() - self._renewed > GIVEN_UP_SECONDS

    def _wait(self) -> None:
        told = ""
        while ahead := self._ahead():
            if ahead != told:
                logger.info("Waiting for %s, which is at work on the registered model", ahead)
                told = ahead
            if time.monotonic() > self._deadline:
                raise _too_long(f"its turn at the model registry ({ahead})")
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _ahead(self) -> str:
        """Who must be waited for; empty for nobody. One that has no number yet may get a lower."""
        own = (self._number, self._key)
        for key, (number, who) in self._others().items():
            if number == 0 or (number, key) < own:
                return who
        return ""

    def _others(self) -> dict[str, tuple[int, str]]:
        """Number and process of each other claim; those of the dead are taken away."""
        found, moment = {}, time.monotonic()
        for key, value in self._tags.read().items():
            if not key.startswith(CLAIM) or key == self._key:
                continue
            said, since = self._seen.get(key, ("", moment))
            if said != value:
                self._seen[key] = said, since = value, moment
            if moment - since > CLAIM_SECONDS:
                logger.warning("The claim %s on the registered model is a dead one's", value)
                self._tags.remove(key)
                continue
            content = json.loads(value)
            found[key] = int(content["number"]), str(content["process"])
        return found

    def _write(self) -> None:
        content = {"number": self._number, "process": _this_process(), "renewals": self._renewals}
        started = time.monotonic()
        self._tags.write(self._key, json.dumps(content))
        # by a write that took so long, others may have taken over: what it brought back is no claim
        self._lost = self._lost or self._is_late()
        self._renewed = started

    def _renew(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_RENEWALS):
            try:
                if not self.stands():
                    return
                self._renewals += 1
                self._write()
            except Exception as error:
                # the registry is away; whoever holds the claim will find out by itself
                logger.debug("The claim on the registered model was not renewed: %s", error)

    def _leave(self) -> None:
        self._ended.set()
        if self._renewal.is_alive():
            # what it is about to write would stay
            self._renewal.join()
        # of a server that is away the claim comes to its end by itself
        with contextlib.suppress(ServiceError):
            self._tags.remove(self._key)


def lock_path(uri: str, name: str) -> Path:
    """Beside a local database, else in the temporary folder, under the digest of both."""
    digest = hashlib.sha256(f"{shown(uri)}\n{name}".encode()).hexdigest()
    if uri.startswith("sqlite:///"):
        return Path(f"{uri.removeprefix('sqlite:///')}.{digest[:12]}.lock")
    return Path(tempfile.gettempdir()) / f"roundhouse-{os.getuid()}" / f"{digest}.lock"


def _this_process() -> str:
    import socket

    return f"{socket.gethostname()}:{os.getpid()}"


def _too_long(what: str) -> ServiceError:
    return ServiceError(
        f"Another process has held {what} for more than {LOCK_SECONDS:g} s; expected it to be done "
        "by then. See what `roundhouse status` says is running, and run again."
    )
