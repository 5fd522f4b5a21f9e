"""Bike sharing in Washington, D.C.: bikes rented in each hour of 2011 and 2012."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.datasets.definition import Dataset, PublishedFile
from tasks.formats import read_table
from tasks.handoffs import Column

if TYPE_CHECKING:
    import pyarrow

FILE = "hour.csv"
COMMIT = "6d8bdf6596a1243cf95981ccc815e4ab49bf5cc8"
REPOSITORY = "https://raw.githubusercontent.com/udacity/deep-learning"
MICROSECONDS_PER_HOUR = 3_600_000_000

TIME = Column(name="time", role="identifier", kind="time")
DATE = Column(name="dteday", role="ignored", kind="time")


def _category(name: str) -> Column:
    return Column(name=name, role="feature", kind="category")


def _measure(name: str) -> Column:
    return Column(name=name, role="feature", kind="numeric")


def _whole(name: str, role: str) -> Column:
    return Column(name=name, role=role, kind="numeric", integer=True)


PUBLISHED = (
    _whole("instant", "ignored"),
    DATE,
    _category("season"),
    # 0 and 1: how the business has grown
    _measure("yr"),
    _category("mnth"),
    _category("hr"),
    _category("holiday"),
    _category("weekday"),
    _category("workingday"),
    _category("weathersit"),
    _measure("temp"),
    _measure("atemp"),
    _measure("hum"),
    _measure("windspeed"),
    # who rented: they sum up to the label, and are not known before
    _whole("casual", "ignored"),
    _whole("registered", "ignored"),
    _whole("cnt", "label"),
)


def read(files: Mapping[str, Path]) -> pyarrow.Table:
    """One row per hour that has rentals; `time` is its beginning, from `dteday` and `hr`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table, _ = read_table(files[FILE], PUBLISHED)
    hours = pc.multiply(table["hr"].cast(pa.int64()), MICROSECONDS_PER_HOUR)
    time = pc.add(table["dteday"], hours.cast(pa.duration("us")))
    return table.add_column(0, TIME.name, time).drop_columns([DATE.name])


DATASET = Dataset(
    name="bike_sharing",
    title="Bikes rented in an hour",
    problem="regression",
    columns=(TIME, *(column for column in PUBLISHED if column != DATE)),
    files=(
        PublishedFile(
            FILE,
            "e03de4ee4ef4dc376ac6e04bf829673c6269e8eba5c60fa121640fa2f829504f",
            f"{REPOSITORY}/{COMMIT}/first-neural-network/Bike-Sharing-Dataset/{FILE}",
        ),
    ),
    folder="bike-sharing",
    read=read,
)
