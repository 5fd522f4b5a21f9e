"""Image files as arrays of one size in RGB, whatever their own size, mode and format."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

CHANNELS = 3
# a file of some kilobytes can claim more, and fill the memory
PIXELS_AT_MOST = 1 << 26
SIXTEEN_TO_EIGHT_BITS = 257
WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Decoded:
    """What became of image files.

    Args:
        pixels: uint8 [images, height, width, 3], those that could be read, in their order.
        damaged: Per number of a file that could not be read, why.
        resized: Numbers of the files of another size.
        transparent: Numbers of those that had transparent parts.
        animated: Numbers of those with more than one picture.
    """

    pixels: np.ndarray
    damaged: dict[int, str] = field(default_factory=dict)
    resized: tuple[int, ...] = ()
    transparent: tuple[int, ...] = ()
    animated: tuple[int, ...] = ()


@dataclass(frozen=True)
class _One:
    """One image: its pixels, uint8 [height, width, 3], or why there are none."""

    pixels: np.ndarray | None
    reason: str = ""
    resized: bool = False
    transparent: bool = False
    animated: bool = False


def decode_images(paths: Sequence[Path], size: int) -> Decoded:
    """Reads image files and brings them to one size and mode.

    Turned as their EXIF orientation says; of several pictures the first; transparent parts on
    white; greys, palettes, CMYK and 16 bits as 8-bit RGB; then stretched to a square by bilinear
    interpolation. A file that is cut short, of another format, or of more than 2^26 pixels counts
    as damaged.

    Args:
        paths: The files.
        size: Height and width, in pixels, that each gets.
    """
    from PIL import Image

    # the filters are those of all threads, so they are set before the first begins
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with ThreadPoolExecutor() as threads:
            images = list(threads.map(partial(_decode, size=size), paths))
    pixels = [image.pixels for image in images if image.pixels is not None]
    chosen = list(enumerate(images))
    return Decoded(
        pixels=np.stack(pixels) if pixels else np.empty((0, size, size, CHANNELS), np.uint8),
        damaged={number: image.reason for number, image in chosen if image.pixels is None},
        resized=tuple(number for number, image in chosen if image.resized),
        transparent=tuple(number for number, image in chosen if image.transparent),
        animated=tuple(number for number, image in chosen if image.animated),
    )


def _decode(path: Path, size: int) -> _One:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            width, height = opened.size
            if width * height > PIXELS_AT_MOST:
                return _One(None, f"{width} x {height} pixels; at most {PIXELS_AT_MOST:,} are read")
            animated = getattr(opened, "n_frames", 1) > 1
            opened.seek(0)
            upright = ImageOps.exif_transpose(opened)
            transparent = upright.has_transparency_data
            image = _as_rgb(upright)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return _One(None, f"more than {PIXELS_AT_MOST:,} pixels")
    # whatever the readers of the formats raise on bytes that they did not expect
    except Exception as error:
        said = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        return _One(None, said.partition("\n")[0][:80] or type(error).__name__)
    resized = image.size != (size, size)
    if resized:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return _One(np.asarray(image), "", resized, transparent, animated)


def _as_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode in RGB; its transparent parts are white."""
    from PIL import Image

    if image.mode.startswith("I"):
        # Pillow would cut 16 bits off at 255
        wide = np.asarray(image).clip(0, 255 * SIXTEEN_TO_EIGHT_BITS)
        image = Image.fromarray((wide / SIXTEEN_TO_EIGHT_BITS).round().astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (*WHITE, 255))
        image = Image.alpha_composite(ground, layer)
    return image.convert("RGB")
