"""What a namespace of a cluster holds of our runs: Jobs, pods and events, in the API's JSON."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from infra.clusters.objects import Object, name_of, uid_of

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient

# what Prefect puts on whatever it makes for a run
RUN_LABEL, POOL_LABEL = "prefect.io/flow-run-id", "prefect.io/work-pool-id"
PAGE = 500
REQUEST_SECONDS = 20
# a watch is begun anew so often, from a list of all there is
WATCH_SECONDS = 300
# people and programs that ask the API a moment after an outage are many
SECONDS_AFTER_FAILURE = 5.0
GONE = 404
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holdings:
    """What there was when it was listed.

    Args:
        jobs: Every Job of a run.
        pods: Every pod of a run.
        events: Of these, the newest last.
    """

    jobs: tuple[Object, ...]
    pods: tuple[Object, ...]
    events: tuple[Object, ...]


class Namespace:
    """The runs' part of a namespace; pods that are deleted are remembered until they are forgotten.

    Args:
        client: A client of the cluster's API.
        name: Name of the namespace.
        pool_id: Id of the work pool whose runs are ours; others may share the namespace.
    """

    def __init__(self, client: "ApiClient", name: str, pool_id: UUID) -> None:
        from kubernetes_asyncio.client import BatchV1Api, CoreV1Api

        self.name = name
        self.pool_id = pool_id
        self.changed = asyncio.Event()
        self._batch, self._core = BatchV1Api(client), CoreV1Api(client)
        # by their uid, as they were last seen: why a pod left its node is written nowhere else
        self._seen: dict[object, Object] = {}

    @property
    def _ours(self) -> str:
        """The label selector of what is made for the pool's runs."""
        return f"{RUN_LABEL},{POOL_LABEL}={self.pool_id}"

    async def holdings(self) -> Holdings:
        """Lists everything; pods that are gone are among it while their Job is there.

        Raises:
            ApiException: The API refuses.
            OSError: It does not answer.
        """
        pods = await self._list(self._core.list_namespaced_pod, label_selector=self._ours)
        # after the pods: a Job that is gone had none, but a new pod may be of a Job that is new
        jobs = await self._list(self._batch.list_namespaced_job, label_selector=self._ours)
        events = await self._list(self._core.list_namespaced_event)
        self._seen.update({uid_of(pod): pod for pod in pods})
        owners = {uid_of(job) for job in jobs}
        self._seen = {uid: pod for uid, pod in self._seen.items() if owner_of(pod) in owners}
        ours = owners | set(self._seen)
        told = [e for e in events if (e.get("involvedObject") or {}).get("uid") in ours]
        return Holdings(tuple(jobs), tuple(self._seen.values()), tuple(sorted(told, key=_moment)))

    async def delete(self, job: Object, grace_seconds: int) -> None:
        """Deletes a Job and its pods; what is gone already is no error.

        Args:
            job: The Job.
            grace_seconds: Between the signals to end and to be killed.
        """
        # the pods first: what deletes them with their Job leaves them a grace of their own
        for pod in list(self._seen.values()):
            if owner_of(pod) == uid_of(job):
                await self._delete(self._core.delete_namespaced_pod, name_of(pod), grace_seconds)
        await self._delete(self._batch.delete_namespaced_job, name_of(job), grace_seconds)

    async def _delete(self, function: Any, name: str, grace_seconds: int) -> None:
        from kubernetes_asyncio.client import V1DeleteOptions
        from kubernetes_asyncio.client.exceptions import ApiException

        options = V1DeleteOptions(
            propagation_policy="Foreground", grace_period_seconds=grace_seconds
        )
        try:
            await function(name, self.name, body=options, _request_timeout=REQUEST_SECONDS)
        except ApiException as error:
            if error.status != GONE:
                raise

    async def log_end(self, pod: str, lines: int) -> str:
        """The last lines of what a pod wrote; empty where the cluster has none any more."""
        from aiohttp import ClientError
        from kubernetes_asyncio.client.exceptions import ApiException

        try:
            response = await self._core.read_namespaced_pod_log(
                pod,
                self.name,
                tail_lines=lines,
                _preload_content=False,
                _request_timeout=REQUEST_SECONDS,
            )
            # a process writes what it likes, and the client would take nothing but UTF-8
            said: bytes = await response.read() if response.ok else b""
        except (ApiException, ClientError, OSError, TimeoutError):
            return ""
        return said.decode(errors="replace")

    async def watch(self) -> None:
        """Remembers each pod as it changes, and sets `changed`, for ever."""
        while True:
            try:
                async for pod in self._changes():
                    self._seen[uid_of(pod)] = pod
                    self.changed.set()
            except Exception as error:
                # not even a line that its client cannot read may end it: the pods go on changing
                logger.warning("The pods of %s cannot be watched for now: %s", self.name, error)
                await asyncio.sleep(SECONDS_AFTER_FAILURE)

    async def _changes(self) -> AsyncIterator[Object]:
        from kubernetes_asyncio.watch import Watch

        async with Watch(return_type="object") as watch:
            stream = watch.stream(
                self._core.list_namespaced_pod,
                self.name,
                label_selector=self._ours,
                timeout_seconds=WATCH_SECONDS,
                _request_timeout=WATCH_SECONDS + REQUEST_SECONDS,
            )
            async for event in stream:
                yield event["raw_object"]

    async def _list(self, function: Any, **options: Any) -> list[Object]:
        from kubernetes_asyncio.client.exceptions import ApiException

        found: list[Object] = []
        following: str | None = None
        while following != "":
            paged = {"_continue": following} if following else {}
            response = await function(
                self.name,
                limit=PAGE,
                _preload_content=False,
                _request_timeout=REQUEST_SECONDS,
                **options,
                **paged,
            )
            content: Mapping[str, Any] = await response.json(content_type=None)
            if not response.ok:
                # an empty list would be taken for a cluster where every Job is gone
                raise ApiException(response.status, str(content.get("message") or response.reason))
            found += content.get("items") or ()
            following = (content.get("metadata") or {}).get("continue") or ""
        return found


def owner_of(pod: Object) -> object:
    """The uid of the Job that made a pod."""
    owners = (pod.get("metadata") or {}).get("ownerReferences") or ()
    return next((owner.get("uid") for owner in owners), None)


def run_of(thing: Object) -> str:
    """The id of the run that a Job or a pod is of."""
    return str(((thing.get("metadata") or {}).get("labels") or {}).get(RUN_LABEL, ""))


def _moment(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")
