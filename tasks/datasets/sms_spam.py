"""SMS Spam Collection: 5,574 text messages, 13 % spam; numbers and names are masked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.columns import arrow_schema
from tasks.datasets.definition import Dataset, PublishedFile
from tasks.errors import SourceError
from tasks.formats import read_lines
from tasks.handoffs import Column

if TYPE_CHECKING:
    import pyarrow

FILE = "SMSSpamCollection"
COMMIT = "4287de2d8a05727f41bb949f2bd187e8becc7e3e"
REPOSITORY = "https://raw.githubusercontent.com/ia4legos/MachineLearning"
COLUMNS = (
    Column(name="text", role="feature", kind="text", protection="mask"),
    Column(name="label", role="label", kind="category"),
)


def read(files: Mapping[str, Path]) -> pyarrow.Table:
    """One row per message; each line is the label, a tab and the message, without quotes.

    Raises:
        SourceError: A line has no tab.
    """
    import pyarrow as pa

    pairs = [line.partition("\t") for line in read_lines(files[FILE])]
    for number, (_, tab, _) in enumerate(pairs, start=1):
        if not tab:
            raise SourceError(
                f"Line {number:,} of {files[FILE]} has no tab; expected the label, a tab and the "
                "message in each. Get the file anew, or mend the line."
            )
    columns = [[message for *_, message in pairs], [label for label, *_ in pairs]]
    return pa.table(columns, schema=arrow_schema(COLUMNS))


DATASET = Dataset(
    name="sms_spam",
    title="Text messages, spam or not",
    problem="classification",
    columns=COLUMNS,
    files=(
        PublishedFile(
            FILE,
            "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d",
            f"{REPOSITORY}/{COMMIT}/data/{FILE}",
        ),
    ),
    folder="sms-spam",
    read=read,
    classes=("ham", "spam"),
)
