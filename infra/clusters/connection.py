"""The way to the API of a cluster, from a machine of a person or from a pod."""

import contextlib
import importlib.util
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from tasks.errors import ConfigError

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient


def require_library() -> None:
    """Makes sure that clusters can be spoken to.

    Raises:
        ConfigError: The library is not installed.
    """
    if importlib.util.find_spec("prefect_kubernetes") is None:
        raise ConfigError(
            "Kubernetes needs the library prefect-kubernetes, which is not installed. Install "
            "roundhouse-ml[kubernetes]."
        )


@contextlib.asynccontextmanager
async def connected() -> "AsyncIterator[ApiClient]":
    """A client of the cluster that this pod is in, or of the one that the kubeconfig names.

    Raises:
        ConfigError: There is neither.
    """
    from kubernetes_asyncio import config
    from kubernetes_asyncio.client import ApiClient, Configuration

    configuration = Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        try:
            # the library reads the variable once, at its import
            file = os.environ.get("KUBECONFIG") or None
            await config.load_kube_config(file, client_configuration=configuration)
        except (config.ConfigException, OSError) as error:
            raise ConfigError(
                f"No cluster is known ({' '.join(str(error).split())}); expected a kubeconfig: set "
                "KUBECONFIG, or log in to the cluster as its documentation says."
            ) from None
    async with ApiClient(configuration) as client:
        yield client
