"""IBM Telco customer churn: who left, among 7,043 fictional customers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.datasets.definition import Dataset, PublishedFile
from tasks.formats import read_table
from tasks.handoffs import Column

if TYPE_CHECKING:
    import pyarrow

FILE = "Telco-Customer-Churn.csv"
COMMIT = "d5371f5d83a446ad5673cbcca3b814b926491f8a"
REPOSITORY = "https://raw.githubusercontent.com/IBM/telco-customer-churn-on-icp4d"


def _category(name: str, *, personal: bool = False) -> Column:
    return Column(name=name, role="feature", kind="category", personal=personal)


COLUMNS = (
    Column(name="customerID", role="identifier", kind="text", protection="hash"),
    _category("gender", personal=True),
    _category("SeniorCitizen", personal=True),
    _category("Partner", personal=True),
    _category("Dependents", personal=True),
    Column(name="tenure", role="feature", kind="numeric", integer=True),
    _category("PhoneService"),
    _category("MultipleLines"),
    _category("InternetService"),
    _category("OnlineSecurity"),
    _category("OnlineBackup"),
    _category("DeviceProtection"),
    _category("TechSupport"),
    _category("StreamingTV"),
    _category("StreamingMovies"),
    _category("Contract"),
    _category("PaperlessBilling"),
    _category("PaymentMethod", personal=True),
    Column(name="MonthlyCharges", role="feature", kind="numeric"),
    Column(name="TotalCharges", role="feature", kind="numeric"),
    Column(name="Churn", role="label", kind="category"),
)


def read(files: Mapping[str, Path]) -> pyarrow.Table:
    """One row per customer; the single blanks in `TotalCharges` (new customers) become nulls."""
    return read_table(files[FILE], COLUMNS)[0]


DATASET = Dataset(
    name="telco_churn",
    title="Telco customer churn",
    problem="classification",
    columns=COLUMNS,
    files=(
        PublishedFile(
            FILE,
            "16320c9c1ec72448db59aa0a26a0b95401046bef5d02fd3aeb906448e3055e91",
            f"{REPOSITORY}/{COMMIT}/data/{FILE}",
        ),
    ),
    folder="telco-churn",
    read=read,
    classes=("No", "Yes"),
)
