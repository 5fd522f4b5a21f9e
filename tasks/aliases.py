"""How the aliases of a model move: recorded, then moved, then said to have moved.

All of it happens under the registry's lock. Whatever is interrupted on the way, the next who moves
completes before anything else; so no alias is lost, and each move has one record.
"""

import logging
from collections.abc import Mapping

from tasks import history
from tasks.errors import ServiceError
from tasks.history import ALIASES, CHAMPION, PREVIOUS, Change, Kind, Move, Mover
from tasks.locking import Hold
from tasks.registry import FINGERPRINT, WITHDRAWN, Registry

NOBODY = Mover(by="somebody")
logger = logging.getLogger(__name__)


class Aliases:
    """The aliases of a registered model, for the one that holds its lock.

    What broke off before is completed as this is made, and what moved without a record gets one.

    Args:
        registry: Of the model, which must exist.
        hold: That its lock is held.
    """

    # all records, in order; the version of each alias; the text of the model's page
    moves: tuple[Move, ...]
    now: dict[str, int]
    _page: str

    def __init__(self, registry: Registry, hold: Hold) -> None:
        self._registry, self._hold = registry, hold
        self._read()
        if self.moves and not self.moves[-1].completed:
            logger.warning("Completing move %d of %s", self.moves[-1].number, registry.name)
            self._carry_out(self.moves[-1].model_copy(update={"mended": True}))
            self._read()
        self._record_what_others_moved()

    @property
    def champions(self) -> tuple[int, ...]:
        """The line of champions, today's last."""
        return history.champions(self.moves)

    def holder(self, alias: str) -> int | None:
        """The version that has an alias."""
        return self.now.get(alias)

    def withdrawn(self, version: int, fingerprint: str) -> Move | None:
        """By which move a version, or its like, was taken out of service by somebody; else None.

        Args:
            version: The version.
            fingerprint: Its fingerprint, which a version of the same data and code shares.
        """
        found = history.withdrawn(self.moves)
        if version in found:
            return found[version]
        there, _ = self._registry.versions()
        for number in sorted(set(found) & set(there), reverse=True):
            if self._registry.version(number).tags.get(FINGERPRINT) == fingerprint:
                return found[number]
        return None

    def move(
        self,
        aliases: Mapping[str, int | None],
        *,
        kind: Kind,
        version: int,
        mover: Mover,
        why: str,
        forced: bool = False,
    ) -> Move | None:
        """Moves aliases, all of them or none as whoever comes next finds it.

        Args:
            aliases: Per alias that is to move, the version that gets it; None takes it away.
            kind: Who decides.
            version: The version that it is about.
            mover: Who, or which run.
            why: The verdict's sentence, or the person's reason.
            forced: Whether a person puts a version in service that nothing had proved.

        Returns:
            The record; None where everything is as it should be already.

        Raises:
            ServiceError: The aliases moved meanwhile, or the lock was lost.
        """
        self._require_same_champion(version)
        changes = history.changes_between(self.now, {**self.now, **aliases})
        if not changes:
            return None
        move = Move(
            number=self._next(), kind=kind, version=version, changes=changes, mover=mover,
            why=history.bounded(why), at=history.now(), forced=forced,
        )  # fmt: skip
        self._write(move)
        move = self._carry_out(move)
        logger.info("%s: %s; %s", self._registry.name, move.moved, move.sentence)
        self._read()
        return move

    def back_to(self, version: int) -> dict[str, int | None]:
        """The aliases once the champion is again one that it was before.

        `previous` is then the one before that, so another rollback goes further back.

        Args:
            version: The version, of the line of champions.
        """
        there, _ = self._registry.versions()
        backwards = iter(reversed(self.champions))
        # all that came after it is left out, and so is the one that it replaces
        earlier = backwards if version in backwards else ()
        possible = set(there) - {version, self.holder(CHAMPION)}
        previous = next((number for number in earlier if number in possible), None)
        return {CHAMPION: version, PREVIOUS: previous}

    def show(self) -> None:
        """Puts the newest moves on the registered model's page."""
        page = history.described(self._page, self.moves)
        if self.moves and page != self._page:
            self._registry.describe_model(page)
            self._page = page

    def _next(self) -> int:
        return 1 + (self.moves[-1].number if self.moves else 0)

    def _read(self) -> None:
        model = self._registry.model()
        if model is None:
            raise ServiceError(
                f"The registered model {self._registry.name} is gone; expected it to be there as "
                "long as versions of it are moved. See who deleted it."
            )
        self.moves = history.moves_in(model.tags)
        self.now = {name: int(n) for name, n in model.aliases.items() if name in ALIASES}
        self._page = model.description or ""

    def _require_same_champion(self, version: int) -> None:
        """The lock keeps out whoever asks for it; MLflow's own pages do not."""
        self._hold.require()
        before = self.holder(CHAMPION)
        self._read()
        now = self.holder(CHAMPION)
        if now != before:
            was, became = (f"v{number}" if number else "none" for number in (before, now))
            raise ServiceError(
                f"While v{version} was judged against champion {was}, the champion became "
                f"{became}; expected it to stay. It is judged again; if that fails too, run again."
            )

    def _carry_out(self, move: Move) -> Move:
        """Does what a record says, as far as it is not done, and completes it."""
        change = move.change(CHAMPION)
        if change and change.before and move.kind != "gate" and self._is_there(change.before):
            self._registry.tag(change.before, {WITHDRAWN: move.sentence})
        if change and change.after and self._is_there(change.after):
            self._registry.untag(change.after, WITHDRAWN)
        for each in move.changes:
            if self._is_due(each):
                self._registry.set_alias(each.alias, each.after)
        move = move.model_copy(update={"completed": history.now()})
        self._write(move)
        return move

    def _is_due(self, change: Change) -> bool:
        """Whether an alias is where the move found it, and the version it goes to is there."""
        if self.now.get(change.alias) != change.before:
            return False
        return change.after is None or self._is_there(change.after)

    def _is_there(self, version: int) -> bool:
        return version in self._registry.versions()[0]

    def _write(self, move: Move) -> None:
        self._hold.require()
        self._registry.tag_model(history.tag_of(move))

    def _record_what_others_moved(self) -> None:
        """Gives a record to what moved past Roundhouse: in MLflow's pages, or by other programs."""
        changes = history.changes_between(history.aliases_after(self.moves), self.now)
        if not changes:
            return
        version = next((c.after for c in reversed(changes) if c.after), None)
        why = (
            "moved in MLflow's pages or by another program, found by the next who moved"
            if self.moves
            else "was so when the first move was recorded"
        )
        move = Move(
            number=self._next(), kind="outside", version=version or 0, changes=changes,
            mover=NOBODY, why=why, at=history.now(),
        )  # fmt: skip
        self._write(move)
        self._carry_out(move)
        self._read()
