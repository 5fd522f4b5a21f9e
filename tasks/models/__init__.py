"""One file per architecture: a configuration and what goes in and out, a `keras.Model` out.

A new architecture is one file here with a function `build` and `USES`, the fields of the
configuration that it reads; its name is that of the file. Models
are built of `keras.*` (and KerasHub, for transformers) only, so that the same file trains on any
backend and the stored `.keras` file loads without our code.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from tasks.config import ModelConfig
from tasks.errors import ConfigError
from tasks.handoffs import PreparedData
from tasks.models.ends import Ends

if TYPE_CHECKING:
    import keras

# what architectures share
SHARED = ("archive", "ends", "initial", "pretrained")
ESTIMATORS = ("boosting",)
MODULES: dict[str, ModuleType] = {
    found.name: importlib.import_module(f"{__name__}.{found.name}")
    for found in pkgutil.iter_modules(__path__)
    if found.name not in SHARED
}
MODELS: "dict[str, Callable[[Ends, ModelConfig], keras.Model]]" = {
    name: module.build for name, module in MODULES.items()
}


def fields_used(architecture: str) -> tuple[str, ...]:
    """The fields of the configuration that an architecture reads.

    Raises:
        ConfigError: There is no such architecture.
    """
    require_architecture(architecture)
    used: tuple[str, ...] = MODULES[architecture].USES
    return used


def libraries_needed(architecture: str) -> tuple[str, ...]:
    """Distributions that a server of an architecture needs besides the usual."""
    needed: tuple[str, ...] = getattr(MODULES[architecture], "LIBRARIES", ())
    return needed


def is_estimator(architecture: str) -> bool:
    """Whether an architecture is no network, but is fitted by a library of its own."""
    return architecture in ESTIMATORS


def require_architecture(name: str) -> None:
    """Makes sure that there is such an architecture.

    Raises:
        ConfigError: There is none; the message lists those that exist, the nearest one first.
    """
    if name in MODELS:
        return
    nearest = difflib.get_close_matches(name, MODELS, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ConfigError(
        f"There is no architecture {name!r}.{hint} There are: {', '.join(sorted(MODELS))}. Choose "
        "one: --set model.architecture=mlp."
    )


def build_model(
    config: ModelConfig, prepared: PreparedData, targets: tuple[float, float] = (0.0, 1.0)
) -> "keras.Model":
    """The network for prepared data, with fresh weights and not compiled.

    Args:
        config: The network.
        prepared: Gives the shape and kind of a row, the classes, the largest pixel value and the
            sizes of vocabularies.
        targets: Mean and standard deviation of the training targets; only for regression.

    Returns:
        A model of one input that gives float32 probabilities [rows, classes], also for two classes;
        values [rows, 1]; or, for problems of sequences, probabilities [rows, length, classes].

    Raises:
        ConfigError: There is no such architecture, or it cannot be built for these data.
    """
    require_architecture(config.architecture)
    mean, deviation = targets
    ends = Ends(
        problem=prepared.snapshot.problem,
        kind=prepared.kind,
        input_shape=prepared.input_shape,
        pixel_maximum=prepared.pixel_maximum,
        classes=prepared.outputs,
        target_mean=mean,
        target_deviation=deviation,
        codes=prepared.codes,
        vocabulary=prepared.vocabulary,
        padding=prepared.padding,
    )
    return MODELS[config.architecture](ends, config)
