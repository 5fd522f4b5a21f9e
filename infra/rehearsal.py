"""What a deployment would do, told without doing it."""

from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

WRITES = ("create_", "update_", "delete_")


class Rehearsal:
    """A client of the Prefect API that reads, and writes nothing.

    Work pools that it was to make are there for its reader, as others refer to them.

    Args:
        client: A client for the Prefect API.
    """

    def __init__(self, client: "SyncPrefectClient") -> None:
        self._client = client
        self._pools: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return _nothing if name.startswith(WRITES) else getattr(self._client, name)

    def create_work_pool(self, work_pool: Any) -> Any:
        """Remembers a work pool."""
        self._pools[work_pool.name] = work_pool
        return work_pool

    def read_work_pool(self, name: str) -> Any:
        """A work pool as it would be."""
        return self._pools.get(name) or self._client.read_work_pool(name)


def rehearsing(client: "SyncPrefectClient") -> "SyncPrefectClient":
    """The client for a rehearsal."""
    return cast("SyncPrefectClient", Rehearsal(client))


def is_rehearsing(client: object) -> bool:
    """Whether a client writes nothing."""
    return isinstance(client, Rehearsal)


def _nothing(*_: Any, **__: Any) -> UUID:
    return UUID(int=0)
