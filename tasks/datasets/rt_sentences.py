"""The sentences of rt_polarity as texts that go on: 10,662 of them, from film reviews."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.columns import arrow_schema
from tasks.datasets.definition import Dataset, PublishedFile
from tasks.formats import read_lines
from tasks.handoffs import Column

if TYPE_CHECKING:
    import pyarrow

COMMIT = "18762b459e21d9c70e5c242f8d43fc4e6db37a0d"
REPOSITORY = "https://raw.githubusercontent.com/dennybritz/cnn-text-classification-tf"
FILES = {
    "rt-polarity.neg": "2d11cfbc790f1cd96d78339f41ce53ced1efa83cd22d37d6788fa3fe3d17e2fd",
    "rt-polarity.pos": "4134882974a28d0c7b5151256f0e33a6169984ee7372c279e673f1114f475d58",
}
COLUMNS = (Column(name="text", role="feature", kind="text"),)


def read(files: Mapping[str, Path]) -> pyarrow.Table:
    """One row per sentence, those of the negative file first."""
    import pyarrow as pa

    sentences = [sentence for name in FILES for sentence in read_lines(files[name])]
    return pa.table([sentences], schema=arrow_schema(COLUMNS))


DATASET = Dataset(
    name="rt_sentences",
    title="Sentences of film reviews, to go on with",
    problem="text_generation",
    columns=COLUMNS,
    files=tuple(
        PublishedFile(name, sha256, f"{REPOSITORY}/{COMMIT}/data/rt-polaritydata/{name}")
        for name, sha256 in FILES.items()
    ),
    folder="rt-polarity",
    read=read,
)
