"""Checks of the census: ages, schooling, work, gains and losses, and an income in two classes."""

from data_checks.checks import (
    Check,
    Strictness,
    blanks,
    categories,
    columns,
    labels,
    numbers,
    row_count,
    text,
    value_range,
)

LABELS = ("<=50K", ">50K")
CATEGORIES = {
    "workclass": (
        "Federal-gov", "Local-gov", "Never-worked", "Private", "Self-emp-inc", "Self-emp-not-inc",
        "State-gov", "Without-pay",
    ),
    "education": (
        "10th", "11th", "12th", "1st-4th", "5th-6th", "7th-8th", "9th", "Assoc-acdm", "Assoc-voc",
        "Bachelors", "Doctorate", "HS-grad", "Masters", "Preschool", "Prof-school", "Some-college",
    ),
    "marital-status": (
        "Divorced", "Married-AF-spouse", "Married-civ-spouse", "Married-spouse-absent",
        "Never-married", "Separated", "Widowed",
    ),
    "occupation": (
        "Adm-clerical", "Armed-Forces", "Craft-repair", "Exec-managerial", "Farming-fishing",
        "Handlers-cleaners", "Machine-op-inspct", "Other-service", "Priv-house-serv",
        "Prof-specialty", "Protective-serv", "Sales", "Tech-support", "Transport-moving",
    ),
    "relationship": (
        "Husband", "Not-in-family", "Other-relative", "Own-child", "Unmarried", "Wife",
    ),
    "race": ("Amer-Indian-Eskimo", "Asian-Pac-Islander", "Black", "Other", "White"),
    "sex": ("Female", "Male"),
}  # fmt: skip
# countries come and go with the people, so any text will do
COUNTRY = "native-country"
RANGES = {
    "age": (14, 120),
    "fnlwgt": (1, 10_000_000),
    "education-num": (1, 16),
    "capital-gain": (0, 100_000),
    "capital-loss": (0, 100_000),
    "hours-per-week": (1, 168),
}
# who did not say where they work did not say as what either: 5.7 % of those that were published
OFTEN_BLANK = {"workclass": 0.1, "occupation": 0.1}
MINIMUM_ROWS = 1_000
MAXIMUM_ROWS = 100_000_000


def build(strictness: Strictness) -> list[Check]:
    """The checks, on a table of the 15 columns of the source."""
    checks = [row_count(strictness, MINIMUM_ROWS, MAXIMUM_ROWS)]
    for name in (*CATEGORIES, COUNTRY):
        largest = max(strictness.maximum_missing, OFTEN_BLANK.get(name, 0.0))
        checks += [text(name), blanks(name, largest)]
        if name in CATEGORIES:
            checks.append(categories(name, CATEGORIES[name]))
    for name, (smallest, largest) in RANGES.items():
        checks += [
            numbers(name),
            blanks(name, strictness.maximum_missing),
            value_range(name, smallest, largest),
        ]
    checks += labels("income", LABELS, strictness)
    return columns([*CATEGORIES, COUNTRY, *RANGES, "income"], checks)
