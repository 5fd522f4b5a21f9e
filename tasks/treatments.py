"""What becomes of a personal value, alike in training and in service: a hash, a mask, a range.

A copy of this very file ships inside each registered model that was trained on treated features, so
it needs numpy and nothing of ours, and errors are plain `ValueError`s. A treated value stays as it
is when it is treated again: a server may be sent either.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas

Treatment = Mapping[str, Any]
HASHED = re.compile(r"hmac:[0-9a-f]{24}")
KEY_VARIABLE = "ROUNDHOUSE_PRIVACY_KEY"
# so much of a range's width that rounding of its lower edge cannot move it into the one below
TOLERANCE, DECIMALS = 1e-9, 9


def keyed_hash(value: str, key: bytes) -> str:
    """HMAC-SHA256 (RFC 2104) of a text, cut to 96 bits: `hmac:` and 24 hexadecimal digits.

    Of a billion texts, two have the same one with a probability of 6e-12.

    Args:
        value: The text.
        key: The key; who does not have it cannot tell which text it was by trying them.
    """
    return f"hmac:{hmac.digest(key, value.encode(), hashlib.sha256).hex()[:24]}"


def lower_edges(values: np.ndarray, width: float) -> np.ndarray:
    """The lower edges of the ranges that numbers lie in: multiples of the width.

    Args:
        values: float64 [rows]; NaN stays NaN.
        width: Of a range.

    Returns:
        float64 [rows].
    """
    edges: np.ndarray = np.round(np.floor(values / width + TOLERANCE) * width, DECIMALS)
    return edges


def treated(
    frame: pandas.DataFrame,
    treatments: Sequence[Treatment],
    mask: Callable[[str], str],
    key_id: str,
) -> pandas.DataFrame:
    """Raw rows as they would have been stored.

    Args:
        frame: The rows; it stays as it is. A column that it lacks is left out.
        treatments: Of each treated feature its `name`, `protection`, `kind`, `range_width` and
            `prefix_length`.
        mask: Masks a text.
        key_id: Of the key that the model's rows were hashed with.

    Raises:
        ValueError: Values have to be hashed, and the key is not in the environment.
    """
    changed: dict[str, Any] = {}
    for treatment in treatments:
        name = treatment["name"]
        if name not in frame.columns:
            continue
        if treatment["protection"] == "generalise" and treatment["kind"] == "numeric":
            numbers = frame[name].to_numpy(np.float64, na_value=np.nan)
            changed[name] = lower_edges(numbers, treatment["range_width"])
            continue
        change = _of_texts(treatment, mask, key_id)
        changed[name] = [
            change(value) if isinstance(value, str) else value for value in frame[name]
        ]
    return frame.assign(**changed)


def _of_texts(
    treatment: Treatment, mask: Callable[[str], str], key_id: str
) -> Callable[[str], str]:
    if treatment["protection"] == "mask":
        return mask
    if treatment["protection"] == "generalise":
        length = int(treatment["prefix_length"])
        return lambda value: value.strip()[:length]

    def hashed(value: str) -> str:
        if HASHED.fullmatch(value):
            return value
        return keyed_hash(value.strip(), _key(treatment["name"], key_id))

    return hashed


def _key(name: str, key_id: str) -> bytes:
    """The key that a server's environment holds."""
    text = os.environ.get(KEY_VARIABLE, "").strip()
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        key = bytes.fromhex(text) if len(text) == 64 else base64.b64decode(f"{standard}=")  # noqa: PLR2004
    except ValueError:
        key = b""
    found = hmac.digest(key, b"roundhouse privacy", hashlib.sha256).hex()[:16]
    if found != key_id:
        came = "another key" if key else "no key"
        raise ValueError(
            f"The column '{name}' was hashed for the training with the key whose id is {key_id}, "
            f"and {KEY_VARIABLE} holds {came}. Set it where the model is served, or send hashed "
            "values."
        )
    return key
