"""`roundhouse promote`, `rollback` and `history`: which version serves, and how that came to be."""

import logging
from typing import TYPE_CHECKING

from infra import access, environment
from tasks import decisions, tracking
from tasks.errors import ConfigError, RoundhouseError
from tasks.history import CHAMPION, PREVIOUS, Move, Mover, page_row
from tasks.lineage import this_user
from tasks.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console


def promote(
    settings: Settings, console: "Console", name: str, version: str, because: str, *, force: bool
) -> None:
    """Makes a version the champion and shows what moved.

    Args:
        settings: Places and addresses.
        console: Where it is shown.
        name: The registered model.
        version: Number of the version, or an alias.
        because: Why.
        force: Also a version without proof.

    Raises:
        ConfigError: It cannot be done, for a reason that the sentence says.
        ServiceError: MLflow does not answer.
    """
    uri = _registry(settings, name)
    mover = Mover(by=this_user())
    move = decisions.promote_version(uri, name, version, because, mover, force=force)
    _show(settings, console, name, move)


def roll_back(
    settings: Settings, console: "Console", name: str, version: str | None, because: str
) -> None:
    """Puts a champion from before into service again and shows what moved.

    Args:
        settings: Places and addresses.
        console: Where it is shown.
        name: The registered model.
        version: Number of the version, or an alias; None for `previous`.
        because: Why.

    Raises:
        ConfigError: It cannot be done, for a reason that the sentence says.
        ServiceError: MLflow does not answer.
    """
    uri = _registry(settings, name)
    move = decisions.roll_back(uri, name, because, Mover(by=this_user()), wanted=version)
    _show(settings, console, name, move)


def show_history(settings: Settings, console: "Console", name: str, last: int) -> None:
    """Shows the moves of a model's aliases, the newest first.

    Args:
        settings: Places and addresses.
        console: Where they are shown.
        name: The registered model.
        last: How many of them.

    Raises:
        ConfigError: There is no such model.
        ServiceError: MLflow does not answer.
    """
    from rich.table import Table
    from rich.text import Text

    moves = decisions.read_history(_registry(settings, name), name)
    if not moves:
        console.print(f"No move of an alias of {name} has been recorded yet.", soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("#", justify="right")
    table.add_column("When (UTC)", no_wrap=True)
    for title in ("Moved", "By", "Why"):
        table.add_column(title, overflow="fold")
    for move in moves[: -last - 1 : -1]:
        table.add_row(*map(Text, (str(move.number), *page_row(move))))
    console.print(table)
    if len(moves) > last:
        console.print(f"{len(moves) - last} older: --last {len(moves)}")


def _registry(settings: Settings, name: str) -> str:
    """The address of the registry, once it is known to answer.

    Raises:
        ConfigError: Nothing has ever been registered in this home.
        ServiceError: The server does not answer.
    """
    environment.apply(environment.credentials(settings))
    if settings.tracking_uri is None and not (settings.home_folder / "mlflow.db").is_file():
        raise ConfigError(
            f"There is no registered model {name!r}, as nothing has run in {settings.home_folder} "
            f"yet; expected one that a run registered. Run it: roundhouse run {name}."
        )
    tracking.require_answer(settings.mlflow_uri, settings.timeout_seconds)
    return settings.mlflow_uri


def _show(settings: Settings, console: "Console", name: str, move: Move) -> None:
    """Says what moved, what that means for the versions, and tells those who listen."""
    from rich.text import Text

    lines = [f"{name}: {move.moved}"]
    champion, previous = move.change(CHAMPION), move.change(PREVIOUS)
    if move.forced:
        lines.append(f"v{move.version} has no proof; that it was forced is recorded.")
    if champion and champion.before:
        lines.append(
            f"The gate does not promote v{champion.before} again, nor its like; to undo this: "
            f'roundhouse promote {name} {champion.before} --because "..."'
        )
    if move.kind == "rollback" and previous:
        lines.append(
            f"Another rollback goes to v{previous.after}."
            if previous.after
            else "There is no champion before it to go back to."
        )
    console.print(Text("\n".join(lines)), soft_wrap=True)
    if settings.prefect_api_url:
        _announce(settings, settings.prefect_api_url, console, name, move)


def _announce(settings: Settings, prefect: str, console: "Console", name: str, move: Move) -> None:
    """Tells those who listen on a Prefect server; that it is away is no reason to fail."""
    environment.apply(environment.environment(settings, prefect))
    try:
        access.require_prefect(prefect, settings.timeout_seconds)
    except RoundhouseError as error:
        console.print(f"Nobody was told of it: {error}", soft_wrap=True, markup=False)
        return
    from prefect.events.worker import EventsWorker

    from tasks import announcements

    # that it is still sending is no news
    logging.getLogger(EventsWorker.__name__).setLevel(logging.ERROR)
    announcements.announce_move(name, move, f"{settings.mlflow_pages}/#/models/{name}")
    EventsWorker.drain_all(timeout=settings.timeout_seconds)
