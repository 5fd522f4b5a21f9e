"""Raw columns to network inputs: fitted on training rows, applied alike in training and in service.

A copy of this very file ships inside each registered model, so it needs numpy and nothing of ours;
frames are used as they come, and errors are plain `ValueError`s. What was fitted is JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas

Fitted = dict[str, Any]


def fit(
    frame: pandas.DataFrame,
    numeric: Sequence[str],
    category: Sequence[str],
    *,
    scaling: str = "standard",
    imputation: str = "median",
    minimum_category_rows: int = 5,
    categories: str = "one_hot",
) -> Fitted:
    """Learns from the training rows what `transform` does to any rows.

    Args:
        frame: The training rows.
        numeric: Columns of numbers; blanks allowed.
        category: Columns of categories; blanks allowed.
        scaling: `standard` (zero mean, unit variance) or `none`.
        imputation: What a blank number becomes: the `median` or the `mean` of the others.
        minimum_category_rows: Rarer categories go to the unknown bucket.
        categories: `one_hot`, an input per category; or `codes`, a whole number per column.

    Returns:
        JSON-able: `kind` "table", `numeric` and `category` with one entry per column, `width`, the
        number of inputs that `transform` gives, and for `codes` their number in each column.

    Raises:
        ValueError: A column is missing, or holds something else than its kind.
    """
    numbers = [_fit_numeric(name, _numbers(frame, name), scaling, imputation) for name in numeric]
    known = [_fit_category(frame, name, minimum_category_rows) for name in category]
    sizes = [1 + len(entry["vocabulary"]) for entry in known]
    width = sum(1 + entry["indicator"] for entry in numbers)
    fitted = {"kind": "table", "numeric": numbers, "category": known}
    if categories == "codes":
        return {**fitted, "width": width + len(sizes), "codes": sizes}
    return {**fitted, "width": width + sum(sizes)}


def transform(frame: pandas.DataFrame, fitted: Mapping[str, Any]) -> np.ndarray:
    """Rows as network inputs.

    For each numeric column its scaled value and, where training rows had blanks, 1 for a blank;
    then for each category column one input for all that is unknown (blank, rare and unseen) and one
    per known category; or, where it was fitted for codes, one whole number: 0 for all that is
    unknown, else the category's own. Columns that `fitted` does not name are ignored.

    Returns:
        float32 [rows, width].

    Raises:
        ValueError: A column is missing, or holds something else than its kind.
    """
    inputs = np.zeros((len(frame), fitted["width"]), np.float32)
    start = 0
    for entry in fitted["numeric"]:
        values = _numbers(frame, entry["name"])
        blank = np.isnan(values)
        if not entry["constant"]:
            filled = np.where(blank, entry["impute"], values)
            inputs[:, start] = _narrowed((filled - entry["mean"]) / entry["scale"], entry["name"])
        if entry["indicator"]:
            inputs[:, start + 1] = blank
        start += 1 + entry["indicator"]
    for entry in fitted["category"]:
        codes = _category_codes(frame, entry["name"], entry["vocabulary"])
        if "codes" in fitted:
            inputs[:, start] = codes
            start += 1
        else:
            inputs[np.arange(len(frame)), start + codes] = 1.0
            start += 1 + len(entry["vocabulary"])
    return inputs


def fit_images(name: str, shape: Sequence[int], maximum: int) -> Fitted:
    """What `transform_images` needs to know; nothing is learnt from the rows.

    Args:
        name: Column with the images.
        shape: Height, width and channels.
        maximum: Largest value a pixel can take.
    """
    return {"kind": "image", "name": name, "shape": list(shape), "maximum": maximum}


def transform_images(images: Any, fitted: Mapping[str, Any]) -> np.ndarray:
    """Images as the network takes them; it scales the pixels itself.

    Args:
        images: Whole numbers of any type, [rows, height, width, channels], the same without the
            channels where there is one, or flat [rows, pixels]; or a list of such rows.
        fitted: From `fit_images`.

    Returns:
        uint8 [rows, height, width, channels].

    Raises:
        ValueError: Another shape, or values that are not whole numbers from 0 to the maximum.
    """
    shape, maximum = tuple(fitted["shape"]), fitted["maximum"]
    try:
        array = _stacked(images)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"The images are not one array of numbers ({error}); expected the shape {shape} for "
            "each row."
        ) from error
    rows = array.shape[0] if array.ndim else 0
    flat = (math.prod(shape),)
    allowed = {shape, flat} | ({shape[:2]} if shape[2] == 1 else set())
    if array.ndim == 0 or (array.size and array.shape[1:] not in allowed):
        raise ValueError(
            f"The images have the shape {array.shape}; expected (rows, "
            f"{', '.join(map(str, shape))})."
        )
    # `not all` rather than `any not`: a comparison with NaN is false
    if array.size and not (array.min() >= 0 and array.max() <= maximum):
        raise ValueError(
            f"The images hold values from {array.min()} to {array.max()}; expected whole numbers "
            f"from 0 to {maximum}."
        )
    pixels = array.astype(np.uint8, copy=False)
    if array.dtype.kind == "f" and not np.array_equal(pixels, array):
        raise ValueError(
            f"The images hold fractions; expected whole numbers from 0 to {maximum}, not yet "
            "scaled: the model does that itself."
        )
    return pixels.reshape(rows, *shape)


def to_json(fitted: Mapping[str, Any]) -> str:
    """What was fitted, as text; the same values give the same text."""
    return json.dumps(fitted, sort_keys=True, allow_nan=False)


def _fit_numeric(name: str, values: np.ndarray, scaling: str, imputation: str) -> Fitted:
    present = values[~np.isnan(values)]
    middle: Callable[[np.ndarray], Any] = np.median if imputation == "median" else np.mean
    impute = float(middle(present)) if len(present) else 0.0
    filled = np.where(np.isnan(values), impute, values)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(filled.mean()) if len(filled) else 0.0
        deviation = float(filled.std()) if len(filled) else 0.0
    # rounding alone leaves a constant column with a deviation of about this size
    constant = deviation <= 10 * np.finfo(np.float64).eps * abs(mean)
    if not math.isfinite(deviation):
        raise ValueError(f"The numbers in column '{name}' are too large to be scaled.")
    scaled = scaling == "standard" and not constant
    return {
        "name": name,
        "impute": impute,
        "mean": mean if scaled else 0.0,
        "scale": deviation if scaled else 1.0,
        # what never varied in training has taught the network nothing, so it is always 0
        "constant": bool(constant),
        "indicator": bool(0 < len(present) < len(values)),
    }


def _fit_category(frame: pandas.DataFrame, name: str, minimum_rows: int) -> Fitted:
    codes, distinct = _column(frame, name).factorize()
    counts = np.bincount(codes[codes >= 0], minlength=len(distinct))
    rows: dict[str, int] = {}
    for value, count in zip(distinct, counts.tolist(), strict=True):
        for text in _spellings(value)[:1]:
            rows[text] = rows.get(text, 0) + count
    return {
        "name": name,
        "vocabulary": sorted(text for text, count in rows.items() if count >= minimum_rows),
    }


def _category_codes(frame: pandas.DataFrame, name: str, vocabulary: Sequence[str]) -> np.ndarray:
    """0 for unknown, else the place in the vocabulary from 1; int64 [rows]."""
    place = {text: number for number, text in enumerate(vocabulary, start=1)}
    codes, distinct = _column(frame, name).factorize()
    known = [
        next((place[text] for text in _spellings(value) if text in place), 0) for value in distinct
    ]
    # a blank has the code -1, which is the 0 at the end
    places: np.ndarray = np.array([*known, 0], np.int64)[codes]
    return places


def _spellings(value: Any) -> tuple[str, ...]:
    """How a category may be written, the likeliest first: 0 and 0.0 as "0"; nothing for a blank."""
    if isinstance(value, str):
        text = value.strip()
        return (text,) if text else ()
    if isinstance(value, bool | np.bool_):
        return (str(bool(value)), str(bool(value)).lower(), str(int(value)))
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            return ()
        return (str(int(value)), str(value)) if float(value).is_integer() else (str(value),)
    # pandas' own blank is no number and no text, and its module is not to be imported here
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return ()
    return (str(value),)


def _column(frame: pandas.DataFrame, name: str) -> Any:
    if name not in frame.columns:
        raise ValueError(
            f"The column '{name}' is missing; found {', '.join(map(str, frame.columns[:20]))}."
        )
    return frame[name]


def _numbers(frame: pandas.DataFrame, name: str) -> np.ndarray:
    """A column as float64 [rows], NaN for blanks."""
    column = _column(frame, name)
    if column.isna().all():
        return np.full(len(column), np.nan)
    try:
        # texts are refused even where they spell numbers: the source should say what it means
        texts = column if column.dtype.kind == "O" else ()
        if column.dtype.kind not in "biufO" or any(isinstance(value, str) for value in texts):
            raise ValueError("not numbers")
        values: np.ndarray = column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"The column '{name}' has the type {column.dtype}; expected numbers, and blanks where "
            "they are not known."
        ) from error
    if np.isinf(values).any():
        raise ValueError(f"The column '{name}' has infinite numbers; expected finite ones.")
    return values


def _narrowed(values: np.ndarray, name: str) -> np.ndarray:
    if len(values) and np.abs(values).max() > np.finfo(np.float32).max:
        raise ValueError(f"The column '{name}' has numbers too large for the network's float32.")
    return values.astype(np.float32)


def _stacked(images: Any) -> np.ndarray:
    """One array of numbers, also from a column or list whose every element is an image."""
    array = np.asarray(images)
    if array.dtype == object:
        array = np.stack([np.asarray(image) for image in array]) if len(array) else array
        array = array.astype(np.float64) if array.dtype == object else array
    if array.dtype.kind not in "uifb":
        raise ValueError(f"their type is {array.dtype}")
    return array
