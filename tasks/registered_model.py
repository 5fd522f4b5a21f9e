"""A registered version taken apart: its network, and its own code that prepares rows for it."""

import importlib.util
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ConfigError, DataError
from tasks.explaining import Model, open_model
from tasks.registry import Registry

FOLDER = "artifacts"


@dataclass(frozen=True)
class RegisteredVersion:
    """A version that can be asked.

    Args:
        model: What it has learnt.
        code: Its own `features` or `texts`.
        outputs: Its own `outputs`.
        protection: Its own `treatments` and `masking`, where features were treated.
    """

    model: Model
    code: ModuleType
    outputs: ModuleType
    protection: tuple[ModuleType, ...] = ()

    @property
    def fitted(self) -> Mapping[str, Any]:
        """What was fitted on the training rows."""
        return self.model.fitted

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the source that it takes; of images and texts the one that they are in."""
        if self.fitted["kind"] != "table":
            return (self.fitted["name"],)
        entries = (*self.fitted["numeric"], *self.fitted["category"])
        return tuple(entry["name"] for entry in entries)

    def prepared(self, rows: Any) -> tuple[NDArray[Any], NDArray[np.int32] | None]:
        """Raw rows as inputs; and of texts, the number of the word that begins at each token.

        Args:
            rows: A frame with the columns, or images uint8 [rows, height, width, channels].

        Raises:
            DataError: They are none that it takes.
        """
        try:
            if self.protection and hasattr(rows, "columns"):
                treatments, masking = self.protection
                key = self.fitted["privacy_key"]
                rows = treatments.treated(rows, self.fitted["treatments"], masking.mask, key)
            if self.fitted["kind"] == "image":
                return self.code.transform_images(rows, self.fitted), None
            if self.fitted["kind"] == "text":
                tokens, words = self.code.encode(rows, self.fitted)
                return tokens, words
            return self.code.transform(rows, self.fitted), None
        except ValueError as error:
            raise DataError(f"The row cannot be an input of the model. {error}") from error


def open_version(registry: Registry, number: int, folder: Path) -> RegisteredVersion:
    """Opens a registered version from its own files; nothing is unpickled.

    Args:
        registry: The registered model.
        number: The version.
        folder: Where its files are put.

    Raises:
        ConfigError: Its package lacks a file.
    """

    def fetched(*names: str) -> Path:
        for name in names:
            path = registry.fetch(number, f"{FOLDER}/{name}", folder)
            if path is not None:
                return path
        raise ConfigError(
            f"v{number} of {registry.name} has no {' or '.join(names)} among its files; expected "
            "those that a run packages. Name another version, or run the pipeline again."
        )

    fitted = json.loads(fetched("preprocessing.json").read_text())
    code = _module(fetched("texts.py" if fitted["kind"] == "text" else "features.py"))
    protection = ("treatments.py", "masking.py") if fitted.get("treatments") else ()
    return RegisteredVersion(
        model=open_model(fetched("network.keras", "network.onnx"), fitted),
        code=code,
        outputs=_module(fetched("outputs.py")),
        protection=tuple(_module(fetched(name)) for name in protection),
    )


def _module(path: Path) -> ModuleType:
    """Code under a name of its own, so that it is never taken for ours."""
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{uuid.uuid4().hex}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is no Python file; package the model again.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
