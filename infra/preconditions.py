"""What must hold before `roundhouse up` starts anything, and what it warns of."""

import socket

from infra import access
from infra.notifications import require_address
from infra.pools import require_name
from infra.servers import Part
from tasks.errors import ConfigError
from tasks.settings import Settings


def require_startable(settings: Settings, prefect: Part, mlflow: Part) -> None:
    """Makes sure that a stack could be served with these settings.

    Args:
        settings: Places and addresses.
        prefect: The Prefect server that would be started.
        mlflow: The MLflow server that would be started.

    Raises:
        ConfigError: It could not, or would let anybody in.
    """
    access.require_credentials(settings)
    require_name(settings.pool)
    require_address(settings)
    if prefect.port == mlflow.port:
        raise ConfigError(
            f"Received port {prefect.port} for both servers; expected two. Set {prefect.setting} "
            f"or {mlflow.setting} to another."
        )
    for name, given, own in (
        ("ROUNDHOUSE_PREFECT_API_URL", settings.prefect_api_url, f"{prefect.address}/api"),
        ("ROUNDHOUSE_TRACKING_URI", settings.tracking_uri, mlflow.address),
    ):
        if given and given.rstrip("/").replace("//localhost", "//127.0.0.1") != own:
            raise ConfigError(
                f"{name} names another server than the one at {own} that `roundhouse up` starts; "
                "expected none, as every command would use the other. Unset it (PREFECT_API_URL "
                "and MLFLOW_TRACKING_URI count as well), or use that server without `up`."
            )


def require_free(settings: Settings, part: Part) -> None:
    """Makes sure that nothing else listens on a server's port.

    Raises:
        ConfigError: Something does.
    """
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, part.port))
        except OSError as error:
            raise ConfigError(
                f"Port {part.port} is taken ({error.strerror}); the {part.name} server needs a "
                f"free one. Stop what uses it, or set {part.setting} to another."
            ) from error


def warnings(settings: Settings) -> list[str]:
    """What will work here and not for others; a sentence each."""
    if settings.host.strip("[]") in access.EVERYWHERE and not settings.allowed_hosts.strip(" ,"):
        return [
            f"Others reach {settings.host}, but the links in pages and messages lead to "
            f"{access.public_address(settings, settings.prefect_port)}; set "
            "ROUNDHOUSE_ALLOWED_HOSTS to the name they know this machine by."
        ]
    return []
