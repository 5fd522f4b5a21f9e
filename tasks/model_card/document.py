"""What a card consists of, whether it becomes a page or a text: sections of plain values."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tasks.handoffs import StoredFile


@dataclass(frozen=True)
class Code:
    """Text that is shown letter by letter: a name, a digest, a command."""

    text: str


@dataclass(frozen=True)
class Link:
    """Words that lead to another page, or to a section of this one."""

    text: str
    address: str


@dataclass(frozen=True)
class Interval:
    """A figure's interval, drawn on a scale where there is one.

    Args:
        value: The figure.
        low: Lower end.
        high: Upper end.
        scale: Both ends of the scale; None where it is not drawn.
        reference: What it is compared with, on the same scale.
    """

    value: float
    low: float
    high: float
    scale: tuple[float, float] | None = None
    reference: float | None = None


@dataclass(frozen=True)
class Bar:
    """A figure drawn as a bar.

    Args:
        text: The figure as it is written.
        share: Length of the bar, 0 to 1.
    """

    text: str
    share: float


Part = str | Code | Link
Cell = Part | Interval | Bar | tuple[Part, ...]


@dataclass(frozen=True)
class Facts:
    """Names and what there is to say of each."""

    pairs: tuple[tuple[str, Part | tuple[Part, ...]], ...]


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        head: A name for each column.
        rows: A cell for each column.
        texts: How many of the first columns are words; the others are figures.
        strong: The column that matters most, counted from 0; None where none does.
        caption: What is said of what is drawn, where it is.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    texts: int = 1
    strong: int | None = None
    caption: str = ""

    def look(self, column: int) -> Literal["text", "range", "strong", "figure"]:
        """How a column is laid out."""
        if column < self.texts:
            return "text"
        if any(isinstance(row[column], Interval | Bar) for row in self.rows):
            return "range"
        return "strong" if column == self.strong else "figure"


@dataclass(frozen=True)
class Notes:
    """Sentences, each with a mark where it held or not.

    Args:
        sentences: The sentences.
        marks: For each, `passed`, `failed` or `plain`; empty: all of them plain.
    """

    sentences: tuple[str | tuple[Part, ...], ...]
    marks: tuple[Literal["passed", "failed", "plain"], ...] = ()


@dataclass(frozen=True)
class Pictures:
    """Pictures of the run, each by its name among the run's pictures."""

    files: dict[str, StoredFile]


Block = Facts | Table | Notes | Pictures


@dataclass(frozen=True)
class Section:
    """A part of a card.

    Args:
        key: Its name in addresses.
        title: Its heading.
        blocks: What it says.
    """

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Card:
    """A model card.

    Args:
        name: Name of the registered model.
        version: Its version.
        subtitle: What it does, in a few words.
        promoted: Whether it earned the alias.
        verdict: Why, or why not.
        figures: What is shown first: a name, a figure, and words on it.
        sections: The rest.
        page: Where the whole card is found as a page.
        made: When it was made, ISO 8601.
    """

    name: str
    version: int
    subtitle: str
    promoted: bool
    verdict: str
    figures: tuple[tuple[str, str, str], ...]
    sections: tuple[Section, ...]
    page: str
    made: str


def section(key: str, title: str, *blocks: Block | None) -> Section | None:
    """A section of those blocks that say something; None where none does."""
    told = tuple(block for block in blocks if block and _says_something(block))
    return Section(key, title, told) if told else None


def facts(**pairs: Part | tuple[Part, ...] | None) -> Facts:
    """Facts by name; an underscore is a space, and what is None is left out."""
    return Facts(
        tuple((_in_words(name), value) for name, value in pairs.items() if value is not None)
    )


def listed(names: Iterable[str], most: int = 12) -> tuple[Part, ...]:
    """Names with commas between, letter by letter, as many as are easily read."""
    found = list(names)
    parts: list[Part] = []
    for name in found[:most]:
        parts += [", ", Code(name)] if parts else [Code(name)]
    return (*parts, f" and {len(found) - most:,} more") if len(found) > most else tuple(parts)


def _in_words(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _says_something(block: Block) -> bool:
    match block:
        case Facts(pairs=found) | Table(rows=found) | Notes(sentences=found):
            return bool(found)
        case Pictures(files=files):
            return bool(files)
