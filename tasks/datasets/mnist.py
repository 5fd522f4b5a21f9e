"""MNIST: 70,000 handwritten digits, 28 x 28 pixels of 256 greys, with a test set of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.columns import as_labels, as_pixels
from tasks.datasets.definition import Dataset, PublishedFile
from tasks.errors import SourceError
from tasks.formats import read_idx
from tasks.handoffs import Column

if TYPE_CHECKING:
    import pyarrow

ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist/"
PARTS = {"train": "train", "test": "t10k"}
IMAGE = Column(name="image", role="feature", kind="image", shape=(28, 28, 1), maximum=255)
DIGIT = Column(name="digit", role="label", kind="category")
PART = Column(name="part", role="part", kind="category")


def read(files: Mapping[str, Path]) -> pyarrow.Table:
    """The images and labels of both parts, training rows first."""
    import pyarrow as pa

    parts = []
    for part, prefix in PARTS.items():
        image_file = files[f"{prefix}-images-idx3-ubyte"]
        label_file = files[f"{prefix}-labels-idx1-ubyte"]
        pixels = read_idx(image_file, row_shape=(28, 28))
        digits = read_idx(label_file, row_shape=())
        if len(pixels) != len(digits):
            raise SourceError(
                f"{image_file} holds {len(pixels):,} images and {label_file} {len(digits):,} "
                "labels; expected as many of each. Take both from the same source."
            )
        rows = {
            "image": as_pixels(pixels.reshape(len(pixels), -1)),
            "digit": as_labels(digits),
            "part": pa.repeat(pa.scalar(part), len(pixels)),
        }
        parts.append(pa.table(rows))
    return pa.concat_tables(parts)


def _file(name: str, sha256: str) -> PublishedFile:
    return PublishedFile(name, sha256, f"{ADDRESS}{name}.gz")


DATASET = Dataset(
    name="mnist",
    title="MNIST handwritten digits, 28 x 28",
    problem="classification",
    columns=(IMAGE, DIGIT, PART),
    files=(
        _file(
            "train-images-idx3-ubyte",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        _file(
            "train-labels-idx1-ubyte",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        _file(
            "t10k-images-idx3-ubyte",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        _file(
            "t10k-labels-idx1-ubyte",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    folder="mnist",
    read=read,
    classes=tuple("0123456789"),
)
