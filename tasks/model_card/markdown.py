"""A card as Markdown: whole, for the run; and as much of it as a version's page can hold."""

import re
from collections.abc import Sequence
from itertools import zip_longest

from tasks.model_card.document import (
    Bar,
    Block,
    Card,
    Cell,
    Code,
    Facts,
    Interval,
    Link,
    Notes,
    Pictures,
    Section,
    Table,
)
from tasks.rules import figure

# the column of a version's description in MLflow's database has so many characters
LONGEST = 5_000
MARKS = {"passed": "✓ ", "failed": "✗ ", "plain": ""}
# of what would be read as HTML or as Markdown
SPECIAL = re.compile(r"([\\`*_\[\]|~])")
# the pages of MLflow leave no room between columns
GAP = "&ensp;"


def whole_card(card: Card) -> str:
    """All of a card."""
    word = "Promoted" if card.promoted else "Not promoted"
    lines = [
        f"# {escaped(card.name)} v{card.version}",
        "",
        f"{escaped(card.subtitle)}.",
        "",
        f"**{word}.** {escaped(card.verdict)}",
        "",
    ]
    for found in card.sections:
        lines += [section_text(found, "##"), ""]
    return "\n".join([*lines, f"Made {card.made}, by Roundhouse.", ""])


def section_text(found: Section, level: str, gap: str = "") -> str:
    """A section with its heading.

    Args:
        found: The section.
        level: What stands before the heading.
        gap: What is put before each figure of a table.
    """
    blocks = [_block(block, gap) for block in found.blocks]
    return "\n\n".join([f"{level} {escaped(found.title)}", *filter(None, blocks)])


def _block(block: Block, gap: str) -> str:
    match block:
        case Facts(pairs=pairs):
            return "\n".join(f"- {escaped(name)}: {cell(value)}" for name, value in pairs)
        case Table():
            return _table(block, gap)
        case Notes(sentences=(only,), marks=()):
            return cell(only)
        case Notes(sentences=sentences, marks=marks):
            marked = zip_longest(sentences, marks, fillvalue="plain")
            return "\n".join(f"- {MARKS[mark]}{cell(text)}" for text, mark in marked)
        case Pictures(files=files):
            names = ", ".join(cell(Code(name)) for name in files)
            return f"Pictures, in the run: {names}"


def _table(table: Table, gap: str) -> str:
    def line(cells: Sequence[Cell]) -> str:
        texts = [cell(value) for value in cells]
        return "| " + " | ".join([*texts[:1], *(gap + text for text in texts[1:])]) + " |"

    kinds = ["---" if place < table.texts else "---:" for place in range(len(table.head))]
    rule = "| " + " | ".join(kinds) + " |"
    return "\n".join([line(table.head), rule, *map(line, table.rows)])


def cell(value: Cell) -> str:
    """A cell on one line."""
    match value:
        case Code(text=text):
            return f"`{text.replace('`', chr(39)).replace('|', chr(166))}`"
        case Link(text=text, address=address):
            return f"[{escaped(text)}]({address})"
        case Interval(low=low, high=high):
            return f"{figure(low)} to {figure(high)}"
        case Bar(text=text):
            return escaped(text)
        case tuple():
            return "".join(map(cell, value))
    return escaped(value)


def escaped(text: str) -> str:
    """Text of which nothing is read as Markdown or as HTML."""
    line = " ".join(text.split()) if "\n" in text else text
    plain = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return SPECIAL.sub(r"\\\1", plain)
