"""Personal values planted in small data, and where to look for them afterwards."""

import contextlib
import gzip
import io
import sqlite3
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tasks.config import PipelineConfig
from tasks.handoffs import Column

ROWS = 300
TABLE, TEXT = "telco_churn", "sms_spam"
AGE, BORN = 41.828125, datetime.fromisoformat("1979-03-08T00:00:00")
SINCE = datetime.fromisoformat("1970-01-01")
# what nobody may find, by what was done to its column
PLANTED: dict[str, tuple[bytes, ...]] = {
    "drop": (b"Quackenbush",),
    "hash": (b"XYLO-",),
    "mask": (
        b"Thaddeus", b"07911 123456", b"planted.example", b"4111 1111 1111 1111",
        b"DE89 3704 0044 0532 0130 00",
    ),
    "generalise": (
        b"QX77", b"1979-03-08", repr(AGE).encode(), struct.pack("<d", AGE), struct.pack("<f", AGE),
        struct.pack("<q", (BORN - SINCE) // timedelta(microseconds=1)),
    ),
    # shown nowhere, and stored as it is
    "none": (b"Hushington",),
}  # fmt: skip
COLUMNS = (
    Column(name="name", role="ignored", kind="text", protection="drop"),
    Column(name="customer", role="identifier", kind="text", protection="hash"),
    Column(name="shop", role="feature", kind="category", protection="hash"),
    Column(name="age", role="feature", kind="numeric", protection="generalise", range_width=10),
    Column(name="postcode", role="feature", kind="category", protection="generalise",
           prefix_length=2),
    Column(name="born", role="ignored", kind="time", protection="generalise"),
    Column(name="note", role="ignored", kind="text", protection="mask"),
    Column(name="town", role="feature", kind="category", personal=True),
    Column(name="months", role="feature", kind="numeric"),
    Column(name="left", role="label", kind="category"),
)  # fmt: skip
PERSONAL_TEXT = (
    "Dear Thaddeus, ring 07911 123456 or write to thad@planted.example, card 4111 1111 1111 1111, "
    "account DE89 3704 0044 0532 0130 00"
)


def plant() -> None:
    """Puts a dataset with every treatment, and a suite for it, in the places of shipped ones."""
    from data_checks.suites import SUITES
    from tasks.datasets import DATASETS
    from tasks.formats import read_table

    DATASETS[TABLE] = replace(
        DATASETS[TABLE], columns=COLUMNS, read=lambda files: read_table(*files.values(), COLUMNS)[0]
    )
    SUITES[TABLE] = checks


def checks(strictness: Any) -> list[Any]:
    """Checks that hold of sound rows."""
    from data_checks.checks import (
        blanks,
        categories,
        columns,
        labels,
        numbers,
        text,
        unique,
        value_range,
    )  # fmt: skip

    found = [
        unique("customer"), text("shop"), blanks("shop", 0), numbers("age"),
        value_range("age", 0, 120), categories("postcode", ("QX", "RY"), tolerance=0),
        blanks("note", 0), categories("town", ("A", "B"), tolerance=0.05),
        *labels("left", ("No", "Yes"), strictness),
    ]  # fmt: skip
    names = [column.name for column in COLUMNS if column.protection != "drop"]
    return columns(names, found)


def write_all(folder: Path) -> None:
    """Writes a sound and a broken table and a file of texts, all with planted values."""
    import pandas as pd

    random = np.random.default_rng(0)
    months = random.integers(1, 72, ROWS)
    frame = pd.DataFrame(
        {
            "name": [f"Quackenbush {row}" for row in range(ROWS)],
            "customer": [f"XYLO-{row}" for row in range(ROWS)],
            "shop": [f"XYLO-{row % 3}" for row in range(ROWS)],
            "age": [AGE] * ROWS,
            "postcode": [f"QX77{row % 5}" for row in range(ROWS)],
            "born": [str(BORN)] * ROWS,
            "note": [PERSONAL_TEXT] * ROWS,
            "town": ["Hushington" if row < 2 else "AB"[row % 2] for row in range(ROWS)],
            "months": months,
            "left": np.where(months + random.normal(0, 6, ROWS) < 36, "Yes", "No"),
        }
    )
    file = "Telco-Customer-Churn.csv"
    (folder / "sound").mkdir()
    (folder / "broken").mkdir()
    frame.to_csv(folder / "sound" / file, index=False)
    broken = frame.assign(age=-1 - AGE, town="Hushington Minor", postcode="77QX", shop="")
    broken["customer"] = "XYLO-TWICE"
    broken.loc[0, "left"] = "Perhaps"
    broken.to_csv(folder / "broken" / file, index=False)
    lines = [
        f"{'spam' if row % 3 else 'ham'}\t{'win a prize' if row % 3 else 'see you'} {row} "
        f"{PERSONAL_TEXT} Hushington{row}"
        for row in range(ROWS)
    ]
    (folder / "SMSSpamCollection").write_text("\n".join(lines) + "\n")


def _configuration(dataset: str, place: str, **others: Any) -> Callable[[str], PipelineConfig]:
    def make(data: str) -> PipelineConfig:
        location = f"{data}/{place}"
        small: dict[str, Any] = {
            "pipeline": f"private-{dataset.partition('_')[0]}",
            "ingestion": {"dataset": dataset, "location": location, "checksum": "none"},
            "checks": {"minimum_rows": 50},
            "training": {"epochs": 2},
            "gate": {"beat_baseline": False, "minimum_rows": 10},
        }
        return PipelineConfig.model_validate({**small, **others})

    return make


TEXTS = {"model": {"architecture": "text_cnn", "filters": [4]}}
WARNED = {"checks": {"minimum_rows": 50, "warn_only": ["copies/text"]}}
CONFIGURATIONS = {
    "broken": _configuration(TABLE, "broken"),
    "sound": _configuration(TABLE, "sound"),
    "texts": _configuration(TEXT, "", **TEXTS, **WARNED),
}


def contents(path: Path) -> Iterator[bytes]:
    """All that a file holds, as it lies there and decoded."""
    raw = path.read_bytes()
    yield raw
    if raw.startswith(b"SQLite format 3"):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            yield "\n".join(database.iterdump()).encode()
    yield from decoded(raw)


def decoded(raw: bytes) -> Iterator[bytes]:
    """What is packed in a gzip, zip, Parquet, npy or PNG file, however deep."""
    inner: list[bytes] = []
    if raw.startswith(b"\x1f\x8b"):
        inner = [gzip.decompress(raw)]
    elif raw.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            inner = [archive.read(name) for name in archive.namelist()]
    elif raw.startswith(b"PAR1"):
        yield _of_parquet(raw)
    elif raw.startswith(b"\x93NUMPY"):
        yield _of_numbers(np.load(io.BytesIO(raw), allow_pickle=False))
    elif raw.startswith(b"\x89PNG"):
        from PIL import Image

        yield str(Image.open(io.BytesIO(raw)).info).encode()
    for content in inner:
        yield content
        yield from decoded(content)


def _of_parquet(raw: bytes) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(raw))
    texts = "\n".join(str(value) for column in table.columns for value in column.to_pylist())
    return texts.encode() + str(table.schema.metadata).encode()


def _of_numbers(array: Any) -> bytes:
    """Numbers in both widths, as a value may have been widened or narrowed on its way."""
    if array.dtype.kind != "f":
        return bytes(array.tobytes())
    return bytes(array.astype("<f8").tobytes() + array.astype("<f4").tobytes())


def found_in(folder: Path, values: tuple[bytes, ...]) -> list[tuple[str, bytes]]:
    """Where values were found below a folder: name of the file and value."""
    return [
        (str(path.relative_to(folder)), value)
        for path in folder.rglob("*")
        if path.is_file()
        for content in contents(path)
        for value in values
        if value in content
    ]
