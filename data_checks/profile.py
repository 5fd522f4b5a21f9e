"""Numbers about images and labels, one per row, so that checks never have to see the pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

# Rows that are worked on at once: some megabytes, whatever the length of the table.
CHUNK_ROWS = 4096

STATISTICS = ("mean", "std", "minimum", "maximum", "copies")


def image_statistics(images: npt.NDArray[np.uint8], name: str = "image") -> pd.DataFrame:
    """Per image: mean, standard deviation, least and largest pixel, and equal images.

    Args:
        images: uint8 [rows, height, width, channels].
        name: What the new columns' names begin with.

    Returns:
        One row per image: `{name}_mean` and `{name}_std` (float64), `{name}_minimum` and
        `{name}_maximum` (int64), `{name}_copies` (int64; how many earlier images are the same).
    """
    import pandas as pd

    rows = len(images)
    pixels = images.reshape(rows, int(np.prod(images.shape[1:])))
    mean, std = np.zeros(rows), np.zeros(rows)
    least, largest = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    for start in range(0, rows, CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        chunk = pixels[part]
        mean[part], std[part] = _mean_and_deviation(chunk)
        least[part], largest[part] = chunk.min(axis=1), chunk.max(axis=1)
    keys = pd.Series([hash(row.tobytes()) for row in pixels], dtype="int64")
    copies = keys.groupby(keys).cumcount().to_numpy()
    columns = dict(zip(STATISTICS, (mean, std, least, largest, copies), strict=True))
    return pd.DataFrame({f"{name}_{key}": values for key, values in columns.items()})


def label_shares(labels: pd.Series) -> pd.Series:
    """For each row, the share of all rows that have its label; blank where the label is."""
    return labels.map(labels.value_counts(normalize=True)).astype("float64")


def _mean_and_deviation(
    pixels: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation per row, from whole-number sums, so exact for uint8."""
    wide = pixels.astype(np.int32)
    count = pixels.shape[1]
    mean = wide.sum(axis=1) / count
    squares = np.einsum("ij,ij->i", wide, wide) / count
    return mean, np.sqrt(np.maximum(squares - mean**2, 0))
