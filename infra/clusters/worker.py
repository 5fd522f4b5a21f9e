"""The worker in the cluster, as a process: it makes a Job for each run, and looks after it.

`python -m infra.clusters.worker`, with the settings in the environment; /health on port 8080 says
whether it polls. It needs the permissions below in its namespace, and none outside of it.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from infra import environment
from infra.clusters import several_nodes
from infra.clusters.clear_text import require_apart_from_servers, without_secrets
from infra.clusters.places import require_shared_in
from tasks.errors import ConfigError
from tasks.settings import Settings, load_settings

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient
    from prefect.client.orchestration import PrefectClient
    from prefect_kubernetes.worker import KubernetesWorker

# per API group and resource, the verbs of the worker, of Prefect's observer and of our watch
PERMISSIONS = {
    ("batch", "jobs"): ("create", "delete", "get", "list", "watch"),
    ("", "pods"): ("delete", "get", "list", "watch"),
    ("", "pods/log"): ("get",),
    ("", "events"): ("list",),
}
HEARTBEAT_SECONDS, POLL_SECONDS = 15, 5
SECONDS_BETWEEN_TRIES = 2.0
# on the pods and not on the Jobs: Prefect's observer tells of pods, and the watch alone of ends
OBSERVED = ("roundhouse-pod", "run")
SIGTERM_BEHAVIOUR = "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"
logger = logging.getLogger("prefect.roundhouse.worker")


def variables(settings: Settings) -> dict[str, str]:
    """What the process needs in its environment before Prefect is imported.

    Raises:
        ConfigError: No server is known.
    """
    api = settings.prefect_api_url or os.environ.get("PREFECT_API_URL")
    if not api:
        raise ConfigError(
            "ROUNDHOUSE_PREFECT_API_URL is not set; expected the address of the server whose runs "
            "this worker takes, ending in /api. Set it in the ConfigMap roundhouse-settings."
        )
    return {
        **environment.environment(settings, api),
        "PREFECT_WORKER_QUERY_SECONDS": os.environ.get(
            "PREFECT_WORKER_QUERY_SECONDS", str(POLL_SECONDS)
        ),
        "PREFECT_LOGGING_ROOT_HANDLERS": "stream",
        "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES": settings.namespace,
        "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_ADDITIONAL_LABEL_FILTERS": "=".join(OBSERVED),
    }


def work() -> None:
    """Runs the worker until it is asked to stop; Jobs that are at work go on meanwhile."""
    try:
        settings = load_settings()
        environment.apply(variables(settings))
        asyncio.run(_work(settings))
    except ConfigError as error:
        sys.exit(str(error))


async def _work(settings: Settings) -> None:
    from prefect.client.orchestration import get_client

    worker = worker_type()(
        work_pool_name=settings.pool,
        name=f"{settings.pool}-{socket.gethostname()}",
        heartbeat_interval_seconds=HEARTBEAT_SECONDS,
        create_pool_if_not_found=False,
    )
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    async with get_client() as client, await cluster_client() as cluster:
        work = [
            asyncio.create_task(worker.start(with_healthcheck=True, printer=logger.info)),
            asyncio.create_task(_watch(client, cluster, settings)),
            asyncio.create_task(asked.wait()),
        ]
        done, others = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for task in done:
            task.result()
        if not asked.is_set():
            raise RuntimeError("The worker ended by itself; expected it to poll for runs.")


async def _watch(client: "PrefectClient", cluster: "ApiClient", settings: Settings) -> None:
    import httpx
    from prefect.exceptions import ObjectNotFound

    from infra.clusters.namespace import Namespace
    from infra.clusters.outcomes import Runs
    from infra.clusters.watching import Watch

    while True:
        try:
            pool = await client.read_work_pool(settings.pool)
            break
        except (ObjectNotFound, httpx.HTTPError) as error:
            logger.warning("Waiting for the work pool %s: %s", settings.pool, error)
            await asyncio.sleep(SECONDS_BETWEEN_TRIES)
    place = Namespace(cluster, settings.namespace, pool.id)
    await Watch(place, Runs(client, settings.pool, settings.mlflow_uri)).run()


async def cluster_client() -> "ApiClient":
    """A client of the cluster that this pod is in, or of the one that the kubeconfig names.

    Raises:
        ConfigError: There is neither.
    """
    from kubernetes_asyncio import config
    from kubernetes_asyncio.client import ApiClient

    try:
        config.load_incluster_config()
    except config.ConfigException:
        try:
            await config.load_kube_config()
        except (config.ConfigException, OSError) as error:
            raise ConfigError(
                f"No cluster is known ({error}); expected a pod with a service account, or a "
                "kubeconfig in KUBECONFIG."
            ) from None
    return ApiClient()


def worker_type() -> "type[KubernetesWorker]":
    """Prefect's worker, whose Jobs leave the word on how they ended to the watch.

    Prefect's own pods schedule their run again as they are told to end, before anybody could say
    why; and its observer calls a run crashed whose Job failed, before anybody could look.
    """
    import abc

    from prefect_kubernetes.worker import KubernetesWorker

    # a class with ABC among its bases does not take KubernetesWorker's place in Prefect's registry
    class WatchedWorker(KubernetesWorker, abc.ABC):  # type: ignore[misc]  # it has no types
        async def run(self, flow_run: Any, configuration: Any, task_status: Any = None) -> Any:
            without_secrets(configuration.job_manifest, os.environ)
            require_apart_from_servers(configuration.job_manifest)
            require_shared_in(configuration.job_manifest)
            claimed(configuration.job_manifest)
            watched(configuration.job_manifest)
            several_nodes.arrange(configuration.job_manifest)
            return await super().run(flow_run, configuration, task_status)

    return WatchedWorker


def claimed(manifest: dict[str, Any]) -> None:
    """Leaves a volume that names a claim nothing else: Kubernetes takes none of two kinds.

    The form of the work pool shows the size of the node's disk beside the claim.

    Args:
        manifest: As Prefect would send it; it is changed.
    """
    for volume in manifest["spec"]["template"]["spec"].get("volumes") or ():
        if (volume.get("persistentVolumeClaim") or {}).get("claimName"):
            volume.pop("emptyDir", None)
        elif "emptyDir" in volume:
            volume.pop("persistentVolumeClaim", None)


def watched(manifest: dict[str, Any]) -> None:
    """Makes a Job's manifest one whose end the watch tells of.

    Args:
        manifest: As Prefect would send it; it is changed.
    """
    template = manifest["spec"]["template"]
    template.setdefault("metadata", {}).setdefault("labels", {})[OBSERVED[0]] = OBSERVED[1]
    if manifest["spec"].get("backoffLimit") != 0:
        return
    for variable in template["spec"]["containers"][0].get("env") or ():
        if (variable.get("name"), variable.get("value")) == (SIGTERM_BEHAVIOUR, "reschedule"):
            variable["value"] = "relinquish"


if __name__ == "__main__":
    work()
