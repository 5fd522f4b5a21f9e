"""What an examination is given, what it finds, and how it asks a server."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from infra.pipelines import load_pipelines
from tasks.remote import basic_login, said_by_system, scrubbed, shown
from tasks.settings import Settings

if TYPE_CHECKING:
    import httpx
    from prefect.client.orchestration import SyncPrefectClient
    from rich.console import Console

PREFECT_URL, MLFLOW_URL = "ROUNDHOUSE_PREFECT_API_URL", "ROUNDHOUSE_TRACKING_URI"


@dataclass(frozen=True)
class Finding:
    """What was found: all is well, or what is wrong and what mends it.

    Args:
        what: What was looked at.
        fact: What is so, whether or not it should be.
        cure: The command or setting that mends it; empty where nothing is wrong.
    """

    what: str
    fact: str
    cure: str = ""

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to mend."""
        return not self.cure


@dataclass(frozen=True)
class Stack:
    """The servers that are examined, and how to ask them.

    Args:
        settings: Places and addresses, those of a running stack included.
        prefect_login: `user:password` of the Prefect API; None where there is none.
        mlflow_login: The same of MLflow.
        in_cluster: Whether runs are Jobs of a cluster, whose bucket and names this machine need
            not know.
    """

    settings: Settings
    prefect_login: str | None = field(default=None, repr=False)
    mlflow_login: str | None = field(default=None, repr=False)
    in_cluster: bool = False

    @property
    def deploy(self) -> str:
        """The command that puts right what is deployed."""
        return "roundhouse deploy" + (" --target kubernetes" if self.in_cluster else "")

    @property
    def prefect(self) -> str:
        """Address of the Prefect API, ending in /api; empty where there is none."""
        return (self.settings.prefect_api_url or "").rstrip("/")

    @property
    def pages(self) -> str:
        """Address of the Prefect pages."""
        return self.prefect.removesuffix("/api")

    @property
    def mlflow(self) -> str:
        """Address of the MLflow server, without credentials; empty where there is none."""
        return shown(self.settings.tracking_uri or "").rstrip("/")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the pipelines, which are those of their experiments."""
        return tuple(load_pipelines(self.settings.pipelines))

    def ask_prefect(self, path: str, **options: Any) -> "httpx.Response":
        """Asks the Prefect API, with the credentials at hand.

        Args:
            path: Below /api.
            **options: Of `ask`.
        """
        return ask(f"{self.prefect}{path}", self.settings, self.prefect_login, **options)

    def ask_mlflow(self, path: str, **options: Any) -> "httpx.Response":
        """Asks the MLflow server, with the credentials at hand.

        Args:
            path: Below its address.
            **options: Of `ask`.
        """
        return ask(f"{self.mlflow}{path}", self.settings, self.mlflow_login, **options)

    def client(self) -> "SyncPrefectClient":
        """A client for the Prefect API, to be used in a `with` statement."""
        from prefect.client.orchestration import SyncPrefectClient

        return SyncPrefectClient(
            self.prefect,
            auth_string=self.prefect_login,
            httpx_settings={"timeout": self.settings.timeout_seconds},
        )


Examination = Callable[[Stack], list[Finding]]


def examined(settings: Settings) -> Stack:
    """The stack that the settings name, with the credentials of this process's environment.

    Args:
        settings: Places and addresses.
    """
    parts = urlsplit(settings.mlflow_uri)
    user, password = (
        (unquote(parts.username), unquote(parts.password or ""))
        if parts.username
        else (
            os.environ.get("MLFLOW_TRACKING_USERNAME", ""),
            os.environ.get("MLFLOW_TRACKING_PASSWORD", ""),
        )
    )
    return Stack(
        settings,
        prefect_login=os.environ.get("PREFECT_API_AUTH_STRING") or None,
        mlflow_login=f"{user}:{password}" if user else None,
    )


def ask(
    address: str,
    settings: Settings,
    login: str | None = None,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> "httpx.Response":
    """Asks an http(s) address once.

    Args:
        address: The address.
        settings: Say how long to wait.
        login: `user:password`, if any.
        method: Of the request.
        headers: Further headers.
        body: What is sent, as JSON.

    Raises:
        httpx.HTTPError: It does not answer in time.
    """
    import httpx

    return httpx.request(
        method,
        address,
        headers={**(headers or {}), **({"Authorization": basic_login(login)} if login else {})},
        json=body,
        timeout=settings.timeout_seconds,
    )


def reason(error: BaseException) -> str:
    """Why something failed, in a few words that show no password."""
    lines = scrubbed(said_by_system(error) or str(error)).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def show_finding(console: "Console", finding: Finding) -> None:
    """One line: what was looked at, what is so, and what mends it.

    Args:
        console: Where it is shown.
        finding: What was found.
    """
    from rich.text import Text

    mark = ("✓ ", "green") if finding.is_well else ("✗ ", "red")
    cure = f"; {finding.cure}" if finding.cure else ""
    line = Text.assemble(mark, (finding.what, "bold"), f": {finding.fact}{cure}")
    console.print(line, soft_wrap=True)
