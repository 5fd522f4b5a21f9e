"""A row as a person writes it on the command line: a number, a file, or columns and values."""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

    from tasks.registered_model import RegisteredVersion


def row_number(given: Sequence[str]) -> int | None:
    """The number of a row of the snapshot, where one was given."""
    return int(given[0]) if len(given) == 1 and given[0].isdecimal() else None


def own_row(given: Sequence[str], version: "RegisteredVersion") -> "pd.DataFrame | NDArray[Any]":
    """A row of somebody's own as the model takes it: a frame, or one image.

    Args:
        given: A file with JSON, of an image also a picture; `column=value`, once for each column;
            or a text.
        version: Says which columns there are, and of which kind.

    Raises:
        ConfigError: A file is missing, or is none of these; a column is missing or unknown.
        DataError: A value is not of its column's kind.
    """
    kind, path = version.fitted["kind"], Path(given[0])
    names_file = len(given) == 1 and path.suffix and "=" not in given[0]
    if names_file and not _is_there(path) and kind != "text":
        raise ConfigError(
            f"There is no file {path}; expected the number of a row, a file, or column=value."
        )
    if kind == "image":
        return _image(path, version.fitted)
    if names_file and _is_there(path):
        return _frame(_one_object(path), version)
    pairs = dict(_pair(value, version) for value in given)
    return _frame(pairs, version)


def _is_there(path: Path) -> bool:
    """Whether it is a file; a text that is longer than a path can be is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _pair(value: str, version: "RegisteredVersion") -> tuple[str, Any]:
    name, equals, content = value.partition("=")
    if version.fitted["kind"] == "text" and name != version.columns[0]:
        return version.columns[0], value
    if not equals:
        raise ConfigError(
            f"Received {value!r} for a row; expected the number of a row of the snapshot, a JSON "
            f"file, or a value for each column, such as --row {version.columns[0]}=..."
        )
    return name, content


def _from_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {type(error).__name__}.") from None


def _one_object(path: Path) -> Mapping[str, Any]:
    found = _from_json(path)
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict):
        raise ConfigError(
            f"{path} holds {type(found).__name__}; expected one object with a value for each "
            "column."
        )
    return found


def _frame(row: Mapping[str, Any], version: "RegisteredVersion") -> "pd.DataFrame":
    import pandas as pd

    columns = version.columns
    if unknown := [name for name in row if name not in columns]:
        nearest = difflib.get_close_matches(unknown[0], columns, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise ConfigError(
            f"The model takes no column {unknown[0]!r}.{hint} It takes {', '.join(columns)}."
        )
    if missing := [name for name in columns if name not in row]:
        raise ConfigError(
            f"The row lacks {', '.join(missing)}; expected a value for each of "
            f"{', '.join(columns)}. A blank is written as {missing[0]}= (in JSON as null)."
        )
    numeric = {entry["name"] for entry in version.fitted.get("numeric", ())}
    values = {name: [_value(name, row[name], name in numeric)] for name in columns}
    return pd.DataFrame(values)


def _value(name: str, value: Any, is_number: bool) -> Any:
    if value is None or value == "":
        return np.nan if is_number else None
    if not is_number:
        return value if isinstance(value, str) else str(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f"The column {name} was given a text; expected a number.") from None


def _image(path: Path, fitted: Mapping[str, Any]) -> NDArray[Any]:
    height, width, channels = fitted["shape"]
    if path.suffix == ".json" and _is_there(path):
        found = _from_json(path)
        pixels = next(iter(found.values()), None) if isinstance(found, dict) else found
        try:
            image = np.asarray([pixels])
        except ValueError:
            image = np.empty(0, object)
        if image.dtype.kind in "iuf":
            return image
        raise ConfigError(
            f"{path} holds no image; expected its pixels as lists of numbers, {height} rows of "
            f"{width}."
        )
    if not _is_there(path):
        raise ConfigError(
            "Images are given as files; expected the number of a row of the snapshot, a picture, "
            "or a JSON file with its pixels."
        )
    if height != width:
        raise ConfigError(f"The model takes images of {height} x {width}; give a JSON file.")
    from tasks.image_decoding import decode_images

    decoded = decode_images([path], height)
    if decoded.damaged:
        raise DataError(f"{path} cannot be read: {decoded.damaged[0]}.")
    pixels = decoded.pixels.astype(np.float64)
    if channels == 1:
        pixels = pixels.mean(axis=-1, keepdims=True)
    return np.asarray((pixels / 255 * fitted["maximum"]).round(), np.uint8)
