"""The moves of a model's aliases: one record each, and what follows from all of them together.

A record is written before the aliases move and completed afterwards. So one that was never
completed tells of a move that broke off, and the next who moves makes up for it.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

from tasks.handoffs import Handoff

CHAMPION, CHALLENGER, PREVIOUS = ALIASES = ("champion", "challenger", "previous")
# MLflow's pages show no tag that begins like this: a hundred of them would hide all others, and the
# model's page has its own table of moves
MOVE = "mlflow.roundhouse.move."
# a tag of a registered model holds 5,000 characters in MLflow's databases
REASON_LENGTH = 1500
HEADING = "### Moves of its aliases"
MOVES_SHOWN = 10
Kind = Literal["gate", "person", "rollback", "outside"]
KINDS: Mapping[str, str] = {
    "gate": "gate", "person": "by hand", "rollback": "rollback", "outside": "outside Roundhouse",
}  # fmt: skip
WORDS: Mapping[str, str] = {
    "gate": "judged", "person": "promoted by hand", "rollback": "rolled back",
    "outside": "moved outside Roundhouse",
}  # fmt: skip


class Change(Handoff):
    """What happened to one alias: the version that had it, and the one that has it, if any."""

    alias: str
    before: int | None
    after: int | None

    @property
    def sentence(self) -> str:
        """As people read it, such as `champion v2 → v3`."""
        versions = (f"v{number}" if number else "none" for number in (self.before, self.after))
        return f"{self.alias} {' → '.join(versions)}"


class Mover(Handoff):
    """Who moves aliases, or which run.

    Args:
        by: The user and the machine.
        run_id: Id of the MLflow run; empty for none.
        page: Address of the Prefect flow run; empty for none.
    """

    by: str
    run_id: str = ""
    page: str = ""


class Move(Handoff):
    """One move of a model's aliases, which all of its changes are a part of.

    Args:
        number: Counted from 1.
        kind: Whether the gate, a person's promotion or rollback, or somebody past Roundhouse did.
        version: The version that it is about.
        changes: What happened to each alias that moved.
        mover: Who, or which run.
        why: The verdict's sentence, or the person's reason.
        at: When it was decided, ISO 8601, UTC.
        forced: Whether a person put a version in service that nothing had proved.
        completed: When the aliases had moved, ISO 8601, UTC; empty while they have not.
        mended: Whether it broke off, and the next who moved completed it.
    """

    number: int
    kind: Kind
    version: int
    changes: tuple[Change, ...]
    mover: Mover
    why: str
    at: str
    forced: bool = False
    completed: str = ""
    mended: bool = False

    def change(self, alias: str) -> Change | None:
        """What it did to an alias; None where it left it alone."""
        return next((change for change in self.changes if change.alias == alias), None)

    @property
    def moved(self) -> str:
        """All that moved, the champion first."""
        return ", ".join(change.sentence for change in reversed(self.changes))

    @property
    def champion_before(self) -> int | None:
        """The version that was the champion, where that moved."""
        change = self.change(CHAMPION)
        return change.before if change else None

    @property
    def sentence(self) -> str:
        """Who did it, when, and why."""
        return f"{WORDS[self.kind]} by {self.mover.by} on {moment(self.at)}: {self.why}"


def now() -> str:
    """This moment, ISO 8601, UTC, in whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def moment(at: str) -> str:
    """A moment of a record as people read it."""
    return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M} UTC"


def bounded(reason: str) -> str:
    """A reason on one line, and no longer than a record has room for."""
    line = " ".join(reason.split())
    return line if len(line) <= REASON_LENGTH else f"{line[: REASON_LENGTH - 1]}…"


def tag_of(move: Move) -> dict[str, str]:
    """A move as the tag of the registered model that keeps it."""
    return {f"{MOVE}{move.number:06d}": move.model_dump_json(exclude_defaults=True)}


def moves_in(tags: Mapping[str, str]) -> tuple[Move, ...]:
    """The moves that the tags of a registered model keep, in order."""
    found = sorted(key for key in tags if key.startswith(MOVE))
    return tuple(Move.model_validate_json(tags[key]) for key in found)


def aliases_after(moves: Iterable[Move]) -> dict[str, int]:
    """Which version has each alias, if nobody but these moves moved it."""
    found: dict[str, int] = {}
    for move in moves:
        for change in move.changes:
            if change.after is None:
                found.pop(change.alias, None)
            else:
                found[change.alias] = change.after
    return found


def changes_between(
    before: Mapping[str, int], after: Mapping[str, int | None]
) -> tuple[Change, ...]:
    """How aliases came from one state to another, the champion's last, which decides."""
    return tuple(
        Change(alias=alias, before=before.get(alias), after=after.get(alias))
        for alias in reversed(ALIASES)
        if before.get(alias) != after.get(alias)
    )


def champions(moves: Iterable[Move]) -> tuple[int, ...]:
    """The line of champions, today's last, each the one that a rollback from the next goes to.

    A promotion adds to the line. Going back takes away all that came after, and with it the version
    that was rolled back, wherever it stands.
    """
    line: list[int] = []
    for move in moves:
        change, former = move.change(CHAMPION), move.change(PREVIOUS)
        if change is None or change.after is None:
            continue
        if move.kind in {"rollback", "outside"} and change.after in line:
            del line[len(line) - line[::-1].index(change.after) :]
            line = [number for number in line if number != change.before]
            continue
        if move.kind == "outside" and former and former.after and former.after not in line:
            line.append(former.after)
        line.append(change.after)
    return tuple(line)


def withdrawn(moves: Iterable[Move]) -> dict[int, Move]:
    """The versions that somebody took out of service, other than by a verdict, and by which move.

    Whoever puts one in service again lifts that.
    """
    found: dict[int, Move] = {}
    for move in moves:
        change = move.change(CHAMPION)
        if change is None:
            continue
        if change.after:
            found.pop(change.after, None)
        if change.before and move.kind != "gate":
            found[change.before] = move
    return found


def described(text: str, moves: tuple[Move, ...]) -> str:
    """What a registered model's page says, with its newest moves; all else stays as it is.

    Args:
        text: The page, with or without them.
        moves: All moves, in order.
    """
    section = re.compile(rf"{re.escape(HEADING)}\n.*?(?=\n#|\Z)", re.DOTALL)
    newest = moves[: -MOVES_SHOWN - 1 : -1]
    older = len(moves) - len(newest)
    lines = [HEADING, "", "| When (UTC) | Moved | By | Why |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(_page_cells(move))} |" for move in newest]
    lines += ["", f"{older} older: `roundhouse history`."] if older else []
    written = "\n".join(lines) + "\n"
    if section.search(text):
        return section.sub(lambda _: written, text, count=1)
    return f"{text.rstrip()}\n\n{written}".lstrip()


def page_row(move: Move) -> tuple[str, str, str, str]:
    """A move as a line of a table: when, what, who, why."""
    notes = [KINDS[move.kind]] if move.kind != "gate" else []
    notes += ["forced"] if move.forced else []
    notes += ["broke off, made up for later"] if move.mended else []
    notes += [] if move.completed else ["broke off; the next move makes up for it"]
    told = f" ({', '.join(notes)})" if notes else ""
    what = move.moved + told
    run = f", run {move.mover.run_id[:8]}" if move.mover.run_id else ""
    when = f"{datetime.fromisoformat(move.at):%Y-%m-%d %H:%M}"
    return when, what, f"{move.mover.by}{run}", move.why


def _page_cells(move: Move) -> list[str]:
    """A move as cells in Markdown, with a link to the Prefect run."""
    when, what, who, why = map(_cell, page_row(move))
    link = f", [Prefect run]({move.mover.page})" if move.mover.page else ""
    return [when, what, who + link, why]


def _cell(text: str) -> str:
    """A text that stays in its cell of a table in Markdown."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
