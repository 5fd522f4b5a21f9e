"""The two ends of every network: what a row looks like coming in, and what goes out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.config import ModelConfig

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Ends:
    """What a network takes and gives.

    Args:
        input_shape: Shape of a row: (height, width, channels) of an image, or (width,) of a table.
        pixel_maximum: Largest pixel value of uint8 images; None for tables, which are float32.
        classes: Number of classes; 0 for regression.
        target_mean: Mean of the training targets; only for regression.
        target_deviation: Their standard deviation; only for regression.
    """

    input_shape: tuple[int, ...]
    pixel_maximum: int | None = None
    classes: int = 0
    target_mean: float = 0.0
    target_deviation: float = 1.0


def take_in(ends: Ends) -> tuple["keras.KerasTensor", "keras.KerasTensor"]:
    """The input, and the same as floating point; pixels are rescaled to between 0 and 1."""
    import keras

    if ends.pixel_maximum is None:
        inputs = keras.Input(ends.input_shape, dtype="float32", name="columns")
        return inputs, inputs
    inputs = keras.Input(ends.input_shape, dtype="uint8", name="pixels")
    return inputs, keras.layers.Rescaling(1 / ends.pixel_maximum, name="rescaled")(inputs)


def hidden_layers(flat: "keras.KerasTensor", config: ModelConfig) -> "keras.KerasTensor":
    """Dense layers, each followed by dropout; none where the configuration has none."""
    import keras

    for number, units in enumerate(config.hidden_units, start=1):
        flat = keras.layers.Dense(units, activation="relu", name=f"hidden_{number}")(flat)
        if config.dropout:
            flat = keras.layers.Dropout(config.dropout, name=f"dropout_{number}")(flat)
    return flat


def give_out(flat: "keras.KerasTensor", ends: Ends) -> "keras.KerasTensor":
    """Probabilities, or values in the unit of the targets; float32 under any precision.

    The last layer of a regression maps zero mean and unit variance to the targets' own, so that
    what is trained is of order one whatever the unit.
    """
    import keras

    if ends.classes:
        return keras.layers.Dense(
            ends.classes, activation="softmax", dtype="float32", name="probabilities"
        )(flat)
    standard = keras.layers.Dense(1, dtype="float32", name="standard_value")(flat)
    return keras.layers.Rescaling(
        ends.target_deviation, ends.target_mean, dtype="float32", name="value"
    )(standard)
