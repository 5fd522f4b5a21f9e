"""A card as one HTML page with everything inside: its pictures, its style, and no script."""

import base64
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.handoffs import StoredFile
from tasks.model_card.document import Card
from tasks.rules import figure
from tasks.storage import Storage

TEMPLATE = "page.html.jinja"
# where a PNG has its width and height, big-endian
PNG_SIZE = slice(16, 24)
# pixels; wider ones have a line of their own
WIDE = 620


def as_page(card: Card, storage: Storage) -> str:
    """The page; the same card gives the same page.

    Args:
        card: The card.
        storage: Holds its pictures.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "kind": lambda value: type(value).__name__,
        "figure": figure,
        "place": place,
    }

    def pictures(files: Mapping[str, StoredFile]) -> list[dict[str, object]]:
        found = [_picture(name, storage.read_bytes(file)) for name, file in files.items()]
        # small ones find room beside each other
        return sorted(found, key=lambda one: one["width"] > WIDE)

    return environment.get_template(TEMPLATE).render(card=card, pictures=pictures)


def _picture(name: str, png: bytes) -> dict[str, Any]:
    width, height = struct.unpack(">II", png[PNG_SIZE])
    data = base64.b64encode(png).decode()
    return {"title": title_of(name), "width": width, "height": height, "data": data}


def place(value: float, scale: tuple[float, float]) -> str:
    """Where a figure is on a scale, as a percentage between 2 and 98."""
    low, high = scale
    share = (value - low) / (high - low)
    return f"{2 + 96 * min(max(share, 0.0), 1.0):.1f}%"


def title_of(name: str) -> str:
    """What the file of a picture shows, in words."""
    words = name.removesuffix(".png").replace("_", " ").replace("-", " ")
    return (words[:1].upper() + words[1:]).replace("Roc ", "ROC ")
