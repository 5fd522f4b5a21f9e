"""Handwritten digits, 8 x 8 pixels of 17 greys; bundled with scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.columns import as_labels, as_pixels
from tasks.datasets.definition import Dataset, PublishedFile
from tasks.errors import SourceError
from tasks.formats import read_whole_numbers
from tasks.handoffs import Column

if TYPE_CHECKING:
    import pyarrow

FILE = "digits.csv"
IMAGE = Column(name="image", role="feature", kind="image", shape=(8, 8, 1), maximum=16)
DIGIT = Column(name="digit", role="label", kind="category")


def read(files: Mapping[str, Path]) -> pyarrow.Table:
    """Rows of 64 pixels and a digit, without a header, as one image and one label each."""
    import pyarrow as pa

    rows = read_whole_numbers(files[FILE], width=65)
    pixels, digits = rows[:, :64], rows[:, 64]
    if pixels.min() < 0 or pixels.max() > np.iinfo(np.uint8).max:
        raise SourceError(
            f"{files[FILE]} holds pixels from {pixels.min()} to {pixels.max()}; expected 0 to "
            f"{IMAGE.maximum}. Get the file anew, or set ingestion.location to another folder."
        )
    return pa.table({"image": as_pixels(pixels.astype(np.uint8)), "digit": as_labels(digits)})


DATASET = Dataset(
    name="digits",
    title="Handwritten digits, 8 x 8",
    problem="classification",
    columns=(IMAGE, DIGIT),
    files=(
        PublishedFile(FILE, "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"),
    ),
    folder="digits",
    read=read,
    classes=tuple("0123456789"),
    bundled=("sklearn", "datasets/data"),
)
