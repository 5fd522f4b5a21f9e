"""Breast cancer Wisconsin (diagnostic): 30 measures of cell nuclei; bundled with scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.datasets.definition import Dataset, PublishedFile
from tasks.errors import SourceError
from tasks.formats import read_table
from tasks.handoffs import Column

if TYPE_CHECKING:
    import pyarrow

FILE = "breast_cancer.csv"
# Names and order as in scikit-learn's descr/breast_cancer.rst; the file itself names no columns.
TRAITS = (
    "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity",
    "concave points", "symmetry", "fractal dimension",
)  # fmt: skip
MEASURES = (
    *(f"mean {trait}" for trait in TRAITS),
    *(f"{trait} error" for trait in TRAITS),
    *(f"worst {trait}" for trait in TRAITS),
)
DIAGNOSIS = Column(name="diagnosis", role="label", kind="category")
COLUMNS = (*(Column(name=name, role="feature", kind="numeric") for name in MEASURES), DIAGNOSIS)


def read(files: Mapping[str, Path]) -> pyarrow.Table:
    """Rows of 30 measures and the label's number, below a line with counts and label names."""
    import pyarrow.compute as pc

    table, first = read_table(files[FILE], COLUMNS, first_line="other")
    names = first[2:]
    number = table["diagnosis"]
    known = {str(index): name for index, name in enumerate(names)}
    strange = [value for value in pc.unique(number).to_pylist() if value and value not in known]
    if strange:
        raise SourceError(
            f"{files[FILE]} labels a row '{strange[0]}'; its first line names the labels "
            f"{', '.join(f'{key} ({name})' for key, name in known.items()) or 'of none'}. Get the "
            "file anew, or set ingestion.location to another folder."
        )
    labels = number
    for key, name in known.items():
        labels = pc.if_else(pc.equal(number, key), name, labels)
    return table.set_column(table.num_columns - 1, "diagnosis", labels)


DATASET = Dataset(
    name="breast_cancer",
    title="Breast cancer Wisconsin (diagnostic)",
    problem="classification",
    columns=COLUMNS,
    files=(
        PublishedFile(FILE, "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed"),
    ),
    folder="breast_cancer",
    read=read,
    classes=("malignant", "benign"),
    bundled=("sklearn", "datasets/data"),
)
