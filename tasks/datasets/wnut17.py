"""WNUT 2017: names of rare and new things in 5,690 short texts of social media."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.columns import arrow_schema
from tasks.datasets.definition import Dataset, PublishedFile
from tasks.formats import read_tagged_words
from tasks.handoffs import Column

if TYPE_CHECKING:
    import pyarrow

COMMIT = "e52a2d2a71ac1a051ca2d532eef28653c5c02603"
REPOSITORY = "https://raw.githubusercontent.com/leondz/emerging_entities_17"
# the test part is the published one; what was published to tune by trains here as well
PARTS = {
    "wnut17train.conll": "train",
    "emerging.dev.conll": "train",
    "emerging.test.annotated": "test",
}
TYPES = ("corporation", "creative-work", "group", "location", "person", "product")
COLUMNS = (
    Column(name="text", role="feature", kind="text", personal=True),
    Column(name="tags", role="label", kind="text"),
    Column(name="part", role="part", kind="category"),
)


def read(files: Mapping[str, Path]) -> pyarrow.Table:
    """One row per text: its words joined by single spaces, and their tags alike."""
    import pyarrow as pa

    texts: list[str] = []
    tags: list[str] = []
    parts: list[str] = []
    for name, part in PARTS.items():
        for words in read_tagged_words(files[name]):
            texts.append(" ".join(word for word, _ in words))
            tags.append(" ".join(tag for _, tag in words))
            parts.append(part)
    return pa.table([texts, tags, parts], schema=arrow_schema(COLUMNS))


def _file(name: str, sha256: str) -> PublishedFile:
    return PublishedFile(name, sha256, f"{REPOSITORY}/{COMMIT}/{name}")


DATASET = Dataset(
    name="wnut17",
    title="WNUT 2017, names of new things in social media",
    problem="token_classification",
    columns=COLUMNS,
    files=(
        _file(
            "wnut17train.conll",
            "731820e13f71af324c6b55a1575ec2ce59fbaa2a0806f8f0400b98d56cd6a7a5",
        ),
        _file(
            "emerging.dev.conll",
            "e053b752b8155113ca66e7db08af5f2f5f43ab993694e4774f1ec5bad42312d8",
        ),
        _file(
            "emerging.test.annotated",
            "2aa79b764e56ec9264a1b30fdd9b70195bd00ff400b62edd8f399d5f13c178f0",
        ),
    ),
    folder="wnut17",
    read=read,
    classes=("O", *(f"{position}-{kind}" for position in "BI" for kind in TYPES)),
)
