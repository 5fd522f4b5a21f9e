"""What people decide about a model: which version serves, against the gate or past it, and why."""

from collections.abc import Iterable

from tasks.aliases import Aliases
from tasks.errors import ConfigError
from tasks.history import CHAMPION, PREVIOUS, Move, Mover, moves_in
from tasks.registry import PROOF, Registry
from tasks.versions import find_version, require_registered

NO_REASON = "no reason was given"


def promote_version(
    uri: str, name: str, wanted: str, because: str, mover: Mover, *, force: bool = False
) -> Move:
    """Makes a version the champion because a person says so.

    Args:
        uri: Address of the registry.
        name: The registered model.
        wanted: Number of the version, or an alias that it has.
        because: Why; kept with the move.
        mover: Who.
        force: Whether a version may serve that no fresh process has loaded and asked.

    Raises:
        ConfigError: No such model, version or alias, no reason, no proof, or it is the champion.
        ServiceError: MLflow does not answer.
    """
    if not because.strip():
        raise ConfigError(
            f"Received an empty reason; expected why {wanted} of {name} is to be the champion, "
            "which is kept with the move. Say it in a few words."
        )
    registry = find_model(uri, name)
    with registry.lock() as hold:
        aliases = Aliases(registry, hold)
        version = find_version(registry, wanted)
        before = aliases.holder(CHAMPION)
        if version == before:
            raise ConfigError(
                f"v{version} is the champion of {name} already; expected another version. Nothing "
                f"is to be done, or name one of {_numbers(registry.versions()[0], but=version)}."
            )
        is_proved = _is_proved(registry, version)
        if not is_proved and not force:
            raise ConfigError(
                f"v{version} of {name} has no proof: no fresh process has loaded it and predicted "
                "as training did. Expected a version that its run has verified. Run the pipeline "
                "again, or accept it as it is, which is recorded: --force."
            )
        wanted_now = {CHAMPION: version} | ({PREVIOUS: before} if before else {})
        move = aliases.move(
            wanted_now, kind="person", version=version, mover=mover, why=because,
            forced=not is_proved,
        )  # fmt: skip
        aliases.show()
    return move or aliases.moves[-1]


def roll_back(
    uri: str, name: str, because: str, mover: Mover, *, wanted: str | None = None
) -> Move:
    """Puts a champion from before into service again.

    The version that is rolled back is marked, and the gate never promotes it again. `previous` is
    then the champion before that one, so a second rollback goes one further back. None without a
    proof is gone back to, though it may have served by force.

    Args:
        uri: Address of the registry.
        name: The registered model.
        because: Why; kept with the move.
        mover: Who.
        wanted: Number of the version, or an alias; None for `previous`.

    Raises:
        ConfigError: No such model, version or alias, nothing to go back to, or no proof.
        ServiceError: MLflow does not answer.
    """
    registry = find_model(uri, name)
    with registry.lock() as hold:
        aliases = Aliases(registry, hold)
        version = (
            _previous(registry, aliases)
            if wanted is None
            else _earlier(registry, aliases, find_version(registry, wanted))
        )
        move = aliases.move(
            aliases.back_to(version), kind="rollback", version=version, mover=mover,
            why=because if because.strip() else NO_REASON,
        )  # fmt: skip
        aliases.show()
    return move or aliases.moves[-1]


def read_history(uri: str, name: str) -> tuple[Move, ...]:
    """The recorded moves of a model's aliases, in order.

    Raises:
        ConfigError: There is no such model.
        ServiceError: MLflow does not answer.
    """
    model = find_model(uri, name).model()
    return moves_in(model.tags) if model else ()


def find_model(uri: str, name: str) -> Registry:
    """The registered model with a name.

    Raises:
        ConfigError: There is none.
    """
    registry = Registry.at(uri, name)
    require_registered(registry)
    return registry


def _previous(registry: Registry, aliases: Aliases) -> int:
    """The version that a rollback goes to."""
    champion, (there, _) = aliases.holder(CHAMPION), registry.versions()
    for number in (aliases.holder(PREVIOUS), *reversed(aliases.champions)):
        if number and number != champion and number in there and _is_proved(registry, number):
            return number
    serves = f"v{champion} is its champion" if champion else "it has no champion"
    raise ConfigError(
        f"{registry.name} has nothing to go back to: {serves}, and no champion before it that has "
        f"its proof is left to serve; expected one. Choose a version yourself: roundhouse promote "
        f'{registry.name} VERSION --because "..."'
    )


def _earlier(registry: Registry, aliases: Aliases, version: int) -> int:
    """A version to go back to, if it was the champion before today's."""
    champion = aliases.holder(CHAMPION)
    if version == champion:
        raise ConfigError(
            f"v{version} is the champion of {registry.name} already; expected a champion before "
            "it. Leave --to out to go back to the last one."
        )
    earlier = [number for number in aliases.champions if number != champion]
    if version in earlier or version == aliases.holder(PREVIOUS):
        if _is_proved(registry, version):
            return version
        raise ConfigError(
            f"v{version} of {registry.name} has no proof: no fresh process has loaded it and "
            "predicted as training did. Expected a version that its run has verified. To put it in "
            "service all the same, which is recorded: roundhouse promote "
            f'{registry.name} {version} --force --because "..."'
        )
    known = f"expected one of {_numbers(earlier)}" if earlier else "there is none before today's"
    raise ConfigError(
        f"v{version} of {registry.name} is no champion to go back to; {known}. To put it in "
        f'service all the same: roundhouse promote {registry.name} {version} --because "..."'
    )


def _is_proved(registry: Registry, version: int) -> bool:
    """Whether a fresh process has loaded a version and predicted with it as training did."""
    return PROOF in registry.version(version).tags


def _numbers(versions: Iterable[int], but: int | None = None) -> str:
    return ", ".join(f"{number}" for number in sorted(set(versions) - {but}))
