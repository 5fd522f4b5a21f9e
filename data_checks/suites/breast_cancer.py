"""Checks of the breast cancer measures: 30 sizes and shapes of cell nuclei, and a diagnosis."""

from data_checks.checks import (
    Check,
    Strictness,
    blanks,
    columns,
    labels,
    numbers,
    row_count,
    value_range,
)

LABELS = ("malignant", "benign")
# Largest believable value of each trait: about four times the largest that was published, so that
# other units are noticed and an unusual nucleus is not.
LARGEST = {
    "radius": 150,
    "texture": 200,
    "perimeter": 1_000,
    "area": 20_000,
    "smoothness": 1,
    "compactness": 5,
    "concavity": 5,
    "concave points": 1.5,
    "symmetry": 3,
    "fractal dimension": 1,
}
MEASURES = {
    name: largest
    for trait, largest in LARGEST.items()
    for name in (f"mean {trait}", f"{trait} error", f"worst {trait}")
}
MINIMUM_ROWS = 100
MAXIMUM_ROWS = 1_000_000


def build(strictness: Strictness) -> list[Check]:
    """The checks, on a table of 30 measures and `diagnosis`."""
    checks = [row_count(strictness, MINIMUM_ROWS, MAXIMUM_ROWS)]
    for name, largest in MEASURES.items():
        checks += [
            numbers(name),
            blanks(name, strictness.maximum_missing),
            value_range(name, 0, largest),
        ]
    checks += labels("diagnosis", LABELS, strictness)
    return columns([*MEASURES, "diagnosis"], checks)
