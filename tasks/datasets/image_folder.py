"""Any folder with one folder of images per class; the folders' names are the labels.

All images are held in memory at once, image_size x image_size x 3 bytes each: 10,000 of 64 x 64
pixels are 123 MB, of 224 x 224 pixels 1.5 GB.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.columns import as_pixels
from tasks.config import IngestionConfig
from tasks.datasets.definition import NOTES, Dataset
from tasks.errors import SourceError
from tasks.handoffs import Column
from tasks.image_decoding import CHANNELS, Decoded, decode_images
from tasks.image_folders import ImageFiles, find_images, named

if TYPE_CHECKING:
    import pyarrow

SIZE = 64
LABEL = Column(name="label", role="label", kind="category")
# which file a row is; not its identity, as an image in two files is to stay on one side
FILE = Column(name="file", role="ignored", kind="text")


def read(files: Mapping[str, Path], *, size: int = SIZE, leave_out: bool = False) -> pyarrow.Table:
    """The images, their labels and their paths; what was noticed is in the schema's metadata.

    Args:
        files: The folder, as the one entry.
        size: Height and width that each image gets.
        leave_out: Whether damaged images are left out.

    Raises:
        SourceError: An image is damaged, or all of a class; the folder is not laid out by class.
    """
    import pyarrow as pa

    (folder,) = files.values()
    found = find_images(folder)
    decoded = decode_images([folder / path for path in found.paths], size)
    _judge(decoded, found, leave_out=leave_out)
    kept = [number for number in range(len(found.paths)) if number not in decoded.damaged]
    table = pa.table(
        {
            "image": as_pixels(decoded.pixels.reshape(len(kept), -1)),
            "label": pa.array([found.labels[number] for number in kept]),
            "file": pa.array([found.paths[number] for number in kept]),
        }
    )
    return table.replace_schema_metadata({NOTES: json.dumps(_notes(decoded, found, size))})


def configured(config: IngestionConfig) -> Dataset:
    """The dataset with images of the size that is asked for."""
    leave_out = config.damaged == "leave_out"
    return dataclasses.replace(
        DATASET,
        columns=_columns(config.image_size),
        read=partial(read, size=config.image_size, leave_out=leave_out),
    )


def _columns(size: int) -> tuple[Column, ...]:
    shape = (size, size, CHANNELS)
    return (Column(name="image", role="feature", kind="image", shape=shape, maximum=255),
            LABEL, FILE)  # fmt: skip


def _judge(decoded: Decoded, found: ImageFiles, *, leave_out: bool) -> None:
    """Refuses damaged images, unless they are to be left out and some of each class remain."""
    if not decoded.damaged:
        return
    some = [f"{found.paths[number]} ({why})" for number, why in decoded.damaged.items()]
    if not leave_out:
        raise SourceError(
            f"{len(some):,} of {len(found.paths):,} images cannot be read: {named(some)}; expected "
            "whole images. Mend or remove them, or leave them out with "
            "--set ingestion.damaged=leave_out."
        )
    left = {label for n, label in enumerate(found.labels) if n not in decoded.damaged}
    if gone := sorted(set(found.labels) - left):
        raise SourceError(
            f"Not one image of the class {named(gone)} can be read: {named(some)}; expected "
            "whole images of each class. Mend them, or remove the folder."
        )


def _notes(decoded: Decoded, found: ImageFiles, size: int) -> list[str]:
    """What was done to images, a sentence each, with counts and names."""
    said = {
        "could not be read and were left out": tuple(decoded.damaged),
        f"were of another size and are {size} x {size} now": decoded.resized,
        "have transparent parts, which are white now": decoded.transparent,
        "have several pictures, of which the first was taken": decoded.animated,
    }
    notes = [
        f"{len(numbers):,} of {len(found.paths):,} images {what}: "
        f"{named([found.paths[number] for number in numbers])}."
        for what, numbers in said.items()
        if numbers
    ]
    if found.others:
        others = list(found.others)
        notes.append(f"{len(others):,} files that are no images were left out: {named(others)}.")
    return notes


DATASET = Dataset(
    name="image_folder",
    title="Images in a folder per class",
    problem="classification",
    columns=_columns(SIZE),
    files=(),
    folder="images",
    read=read,
    is_folder=True,
    configured=configured,
)
