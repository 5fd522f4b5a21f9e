"""No secret stands in a Job, where all who may read Jobs would read it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from infra.clusters.variables import LOGIN, SECRETS
from tasks.errors import ConfigError

SECRET_NAME = re.compile(
    r"(PASSWORD|PASSWD|SECRET|TOKEN|KEY|KEY_ID|AUTH_STRING|CUSTOM_HEADERS)$", re.IGNORECASE
)
SERVERS_SECRET = "roundhouse-servers"
# of the stateful sets `postgres`, `redis` and `store`
SERVERS_ACCOUNTS = ("roundhouse-server", "roundhouse-worker")
SERVERS_CLAIM = re.compile(r"data-(postgres|redis|store)-\d+$")
PASSWORD_IN_ADDRESS = re.compile(r"://[^/\s@:]*:[^/\s@]+@")


def shown_secrets(variables: Mapping[str, object]) -> list[str]:
    """The names of those environment variables whose values nobody should read.

    Args:
        variables: Their values by name; what refers to another variable, $(NAME), gives it away
            no more than the reference does.
    """
    return [name for name, value in variables.items() if _is_shown(name, str(value or ""))]


def require_hidden(variables: Mapping[str, object], whose: str) -> None:
    """Refuses environment variables that would show a secret.

    Args:
        variables: Their values by name.
        whose: Whose they are, for the error.

    Raises:
        ConfigError: One would; with its name and without its value.
    """
    if shown := shown_secrets(variables):
        raise ConfigError(
            f"The environment variables of {whose} have {', '.join(shown)} in clear, and all who "
            "may read Jobs could read it; expected no secret among the job variables. Put it into "
            f"the secret {SECRETS}, whose keys every run is given, and take it out of `env`; "
            "$(NAME) there refers to such a key."
        )


def without_secrets(manifest: dict[str, Any], own: Mapping[str, str]) -> None:
    """Takes the secrets of the worker's own settings out of a Job, to which Prefect adds them all.

    Its runs have the same secrets by reference.

    Args:
        manifest: As Prefect would send it; it is changed.
        own: The environment of the worker.

    Raises:
        ConfigError: Somebody else's stand in it.
    """
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    variables = container.get("env") or []
    given = {v["name"]: v["value"] for v in variables if "value" in v}
    secret = set(shown_secrets(given))
    inherited = {name for name in secret if name.startswith("PREFECT_") and name in own}
    require_hidden({name: given[name] for name in secret - inherited}, "this run")
    container["env"] = [
        {"name": v["name"], "value": LOGIN[v["name"]]} if v["name"] in inherited else v
        for v in variables
        if v["name"] not in inherited or v["name"] in LOGIN
    ]


def require_apart_from_servers(manifest: dict[str, Any]) -> None:
    """Refuses a Job that would be given what is the servers': passwords, disks, accounts, tokens.

    Args:
        manifest: As Prefect would send it.

    Raises:
        ConfigError: It would.
    """
    pod = manifest["spec"]["template"]["spec"]
    for kind, name in _references(pod.get("volumes"), pod.get("containers")):
        if SERVERS_CLAIM.match(name) or name == SERVERS_SECRET or kind == "serviceAccountToken":
            raise ConfigError(
                f"This run asks for {name!r}, which belongs to the servers; expected secrets and "
                f"volumes that are the runs' own. Put what runs need into the secret {SECRETS}, or "
                "make a volume claim for them."
            )
    account = str(pod.get("serviceAccountName") or "")
    if account in SERVERS_ACCOUNTS:
        raise ConfigError(
            f"This run is to have the service account {account!r}, which belongs to the servers; "
            "expected roundhouse-run, or one of your own. Correct the job variable."
        )


def _references(*parts: Any) -> Iterator[tuple[str, str]]:
    """Every text of parts of a manifest with its key; of a part without texts, its key alone."""
    for part in parts:
        if isinstance(part, Mapping):
            for key, value in part.items():
                yield key, value if isinstance(value, str) else key
                yield from _references(value)
        elif isinstance(part, list):
            yield from _references(*part)


def _is_shown(name: str, value: str) -> bool:
    if not value or "$(" in value:
        return False
    return bool(SECRET_NAME.search(name) or PASSWORD_IN_ADDRESS.search(value))
