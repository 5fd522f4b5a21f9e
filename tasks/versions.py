"""A version of a registered model, by what a person calls it."""

import difflib
import re

from tasks import tracking
from tasks.errors import ConfigError
from tasks.handoffs import RunContext
from tasks.registry import CHAMPION, Registry
from tasks.settings import Settings

ADDRESS = re.compile(r"(?:models:/)?(?P<name>[\w.-]+)(?:@(?P<alias>[\w-]+)|/v?(?P<number>\d+))?")


def parse_address(address: str) -> tuple[str, str]:
    """The name of a registered model, and the alias or the number that an address names.

    Args:
        address: `digits`, which is its champion, `digits@previous` or `digits/3`.

    Raises:
        ConfigError: It is none of these.
    """
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise ConfigError(
            f"Received {address!r}; expected the name of a registered model, with an alias or a "
            "version if it is not the champion: digits, digits@previous or digits/3."
        )
    return found["name"], found["number"] or found["alias"] or CHAMPION


def require_registered(registry: Registry) -> None:
    """Makes sure that there is a registered model of that name.

    Raises:
        ConfigError: There is none.
    """
    known = registry.names()
    if registry.name in known:
        return
    nearest = difflib.get_close_matches(registry.name, known, n=1, cutoff=0.5)
    question = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ConfigError(
        f"There is no registered model {registry.name!r}.{question} Expected one of "
        f"{', '.join(known) or 'those that a run registers; none has been yet'}."
    )


def find_version(registry: Registry, wanted: str) -> int:
    """The number of the version that has an alias or a number now.

    Args:
        registry: The registered model.
        wanted: A number or an alias, as in 3, v3, challenger or @challenger.

    Raises:
        ConfigError: There is no such model, version or alias.
    """
    versions, aliases = registry.versions()
    if not versions:
        require_registered(registry)
        raise ConfigError(
            f"{registry.name} has no version any more; expected one that a run has registered."
        )
    wanted = wanted.strip().removeprefix("@")
    wanted = wanted[1:] if re.fullmatch(r"v\d+", wanted) else wanted
    if wanted.isdigit():
        if int(wanted) in versions:
            return int(wanted)
        raise ConfigError(
            f"{registry.name} has no version {wanted}; expected one of "
            f"{', '.join(map(str, versions[-10:]))}."
        )
    if wanted in aliases:
        return aliases[wanted]
    known = ", ".join(f"{alias} (v{number})" for alias, number in sorted(aliases.items()))
    raise ConfigError(
        f"{registry.name} has no alias {wanted!r}; expected {known or 'none, as it has no alias'}, "
        f"or a version such as {registry.name}/{versions[-1]}."
    )


def locate_version(address: str, settings: Settings) -> tuple[RunContext, int]:
    """Where a version is, in a context that has no run yet, and its number.

    Args:
        address: As `parse_address` takes it.
        settings: Places and addresses.

    Raises:
        ConfigError: There is no such model, version or alias.
        ServiceError: MLflow does not answer.
    """
    tracking.require_answer(settings.mlflow_uri, settings.timeout_seconds)
    name, wanted = parse_address(address)
    place = RunContext(
        pipeline=name,
        run_id="",
        experiment_id="",
        mlflow_uri=settings.mlflow_uri,
        mlflow_pages=settings.mlflow_pages,
        storage_uri=settings.storage_uri,
    )
    return place, find_version(Registry(place), wanted)
