"""Amounts as Kubernetes writes them: 500m of a CPU, 16Gi of memory."""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

# of the resource.Quantity of the Kubernetes API, without a sign
PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,2})?$"
POWERS = {"n": -3, "u": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
LEAST_MEMORY, MOST_MEMORY = Decimal(64 * 2**20), Decimal(2**50)
LEAST_CPU, MOST_CPU = Decimal("0.05"), Decimal(1024)


def parse_quantity(text: str) -> Decimal:
    """What an amount is in units: CPUs, or bytes.

    Args:
        text: As Kubernetes writes it: 0.5, 500m, 16G (10^9 each), 16Gi (2^30 each) or 1e9.

    Raises:
        ValueError: It is no amount.
    """
    found = re.fullmatch(PATTERN, text)
    if found is None:
        raise ValueError(f"{text!r} is no amount")
    number, suffix = found[1], found[3] or ""
    try:
        if suffix.endswith("i"):
            return Decimal(number) * Decimal(1024) ** POWERS[suffix[0].replace("K", "k")]
        if suffix in POWERS:
            return Decimal(number).scaleb(3 * POWERS[suffix])
        return Decimal(number + suffix)
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is no amount") from error


def _memory(value: object) -> str:
    return _within(value, LEAST_MEMORY, MOST_MEMORY, "64Mi to 1Pi, such as 16Gi (or 16G)")


def _cpu(value: object) -> str:
    return _within(value, LEAST_CPU, MOST_CPU, "CPUs from 50m to 1024, such as 4, 0.5 or 500m")


def _within(value: object, least: Decimal, most: Decimal, expected: str) -> str:
    # YAML reads 4 and 0.5 as numbers
    text = str(value).strip() if isinstance(value, str | int | float) else ""
    try:
        fits = not isinstance(value, bool) and least <= parse_quantity(text) <= most
    except ValueError:
        fits = False
    if not fits:
        raise PydanticCustomError("quantity", "expected {expected}", {"expected": expected})
    return text


Memory = Annotated[str, BeforeValidator(_memory)]
Cpu = Annotated[str, BeforeValidator(_cpu)]
