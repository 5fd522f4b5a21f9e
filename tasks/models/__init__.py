"""One file per architecture: a configuration and what goes in and out, a `keras.Model` out.

A new architecture is one file here, one line in `MODELS` and its name in
`tasks.config.ModelConfig`. Models are built of Keras's own layers only, so that the stored `.keras`
file loads without our code.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tasks.config import ModelConfig
from tasks.errors import ConfigError
from tasks.handoffs import PreparedData
from tasks.models import cnn, mlp
from tasks.models.ends import Ends

if TYPE_CHECKING:
    import keras

MODELS: dict[str, "Callable[[Ends, ModelConfig], keras.Model]"] = {
    "mlp": mlp.build,
    "cnn": cnn.build,
}


def build_model(
    config: ModelConfig, prepared: PreparedData, targets: tuple[float, float] = (0.0, 1.0)
) -> "keras.Model":
    """The network for prepared data, with fresh weights and not compiled.

    Args:
        config: The network.
        prepared: Gives the shape of a row, the number of classes and the largest pixel value.
        targets: Mean and standard deviation of the training targets; only for regression.

    Returns:
        A model that gives float32 probabilities [rows, classes], also for two classes, or values
        [rows, 1].

    Raises:
        ConfigError: There is no such architecture, or it cannot be built for these data.
    """
    if config.architecture not in MODELS:
        raise ConfigError(
            f"There is no architecture {config.architecture!r}; there are: "
            f"{', '.join(sorted(MODELS))}. Choose one: --set model.architecture=mlp."
        )
    mean, deviation = targets
    ends = Ends(
        input_shape=prepared.input_shape,
        pixel_maximum=prepared.pixel_maximum,
        classes=len(prepared.classes),
        target_mean=mean,
        target_deviation=deviation,
    )
    return MODELS[config.architecture](ends, config)
