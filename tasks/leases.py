"""A slot of a global concurrency limit of the Prefect server, held by a lease that is renewed."""

import contextlib
import logging
import threading
from contextvars import copy_context
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import ConcurrencyLeaseHolder

from tasks.errors import ConfigError

# the shortest lease that Prefect grants; its own renewal gives up when a server restarts
LEASE_SECONDS, SECONDS_BETWEEN_RENEWALS = 60.0, 15.0
logger = logging.getLogger(__name__)


class Lease:
    """A slot of a limit, kept by renewing it until the end; a context manager once it is taken."""

    def __init__(self, client: SyncPrefectClient, limit: str, flow_run_id: UUID) -> None:
        self.limit = limit
        self._client = client
        self._holder = ConcurrencyLeaseHolder(type="flow_run", id=flow_run_id)
        self.lease_id: UUID | None = None
        self._ended = threading.Event()

    def take(self) -> bool:
        """Takes the slot if it is free.

        Raises:
            ConfigError: The limit allows nobody at all.
        """
        try:
            response = self._client.increment_concurrency_slots_with_lease(
                [self.limit], 1, "concurrency", LEASE_SECONDS, self._holder
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.LOCKED:
                return False
            if error.response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
                raise ConfigError(
                    f"The concurrency limit {self.limit!r} is 0; expected 1 or more. Raise it: "
                    f"prefect gcl update {self.limit} --limit 1."
                ) from None
            if error.response.is_server_error:
                # whoever waits goes on waiting; a slot that it took half-way is left over
                logger.debug("The slot of %r could not be asked for: %s", self.limit, error)
                return False
            raise
        self.lease_id = UUID(response.json()["lease_id"])
        return True

    def __enter__(self) -> None:
        run = copy_context().run
        threading.Thread(target=run, args=(self._renew,), daemon=True, name="turn").start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        # of a server that is away the lease expires, and the run has its own end to tell
        with contextlib.suppress(httpx.HTTPError):
            if self.lease_id:
                self._client.release_concurrency_slots_with_lease(self.lease_id)

    def _renew(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_RENEWALS):
            try:
                if self.lease_id:
                    self._client.renew_concurrency_lease(self.lease_id, LEASE_SECONDS)
                elif self.take():
                    logger.info("The slot of %r is this run's again", self.limit)
            except httpx.HTTPStatusError as error:
                if error.response.status_code == httpx.codes.GONE:
                    logger.warning("The slot of %r was lost; taking it anew", self.limit)
                    self.lease_id = None
            except httpx.HTTPError as error:
                logger.debug("The slot of %r could not be renewed: %s", self.limit, error)
