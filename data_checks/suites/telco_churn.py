"""Checks of the telco customers: an identifier, categories, charges, and whether they left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data_checks.checks import (
    Check,
    Strictness,
    blanks,
    categories,
    columns,
    failing_rows,
    labels,
    numbers,
    row_count,
    text,
    unique,
    value_range,
)

if TYPE_CHECKING:
    import pandas as pd

LABELS = ("No", "Yes")
YES_OR_NO = ("No", "Yes")
WITH_INTERNET = ("No", "No internet service", "Yes")
CATEGORIES = {
    "gender": ("Female", "Male"),
    "SeniorCitizen": ("0", "1"),
    "Partner": YES_OR_NO,
    "Dependents": YES_OR_NO,
    "PhoneService": YES_OR_NO,
    "MultipleLines": ("No", "No phone service", "Yes"),
    "InternetService": ("DSL", "Fiber optic", "No"),
    "OnlineSecurity": WITH_INTERNET,
    "OnlineBackup": WITH_INTERNET,
    "DeviceProtection": WITH_INTERNET,
    "TechSupport": WITH_INTERNET,
    "StreamingTV": WITH_INTERNET,
    "StreamingMovies": WITH_INTERNET,
    "Contract": ("Month-to-month", "One year", "Two year"),
    "PaperlessBilling": YES_OR_NO,
    "PaymentMethod": (
        "Bank transfer (automatic)",
        "Credit card (automatic)",
        "Electronic check",
        "Mailed check",
    ),
}
# Months, then money: fifty years of custom, and charges far above today's 119 a month.
RANGES = {"tenure": (0, 600), "MonthlyCharges": (0, 1_000), "TotalCharges": (0, 200_000)}
CHARGES = ("tenure", "MonthlyCharges", "TotalCharges")
MINIMUM_ROWS = 500
MAXIMUM_ROWS = 100_000_000


def build(strictness: Strictness) -> list[Check]:
    """The checks, on a table of the 21 columns of the source."""
    checks = [
        row_count(strictness, MINIMUM_ROWS, MAXIMUM_ROWS),
        text("customerID"),
        blanks("customerID", 0),
        unique("customerID"),
    ]
    for name, values in CATEGORIES.items():
        checks += [
            text(name),
            blanks(name, strictness.maximum_missing),
            categories(name, values),
        ]
    for name, (smallest, largest) in RANGES.items():
        checks += [
            numbers(name),
            blanks(name, strictness.maximum_missing),
            value_range(name, smallest, largest),
        ]
    checks += [_charges_agree(), *labels("Churn", LABELS, strictness)]
    return columns(["customerID", *CATEGORIES, *RANGES, "Churn"], checks)


def charges_gap(frame: pd.DataFrame) -> pd.Series:
    """How far `TotalCharges` is from months times monthly charge, as a share of the latter."""
    product = frame["tenure"] * frame["MonthlyCharges"]
    return (frame["TotalCharges"] - product).abs() / product.clip(lower=1)


def _charges_agree() -> Check:
    import great_expectations.expectations as gxe

    expectation = gxe.ExpectColumnValuesToBeBetween(column="charges_gap", max_value=1, mostly=0.99)
    return Check(
        "agreement/TotalCharges",
        CHARGES,
        "total charges within twice the months times the monthly charge, in 99 % of the rows",
        expectation,
        failing_rows("are further off"),
        severity="warning",
        derive=charges_gap,
    )
