"""The two ends of every network: what a row looks like coming in, and what goes out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.config import ModelConfig
from tasks.errors import ConfigError
from tasks.handoffs import InputKind, Problem

if TYPE_CHECKING:
    import keras

# names of the layers that belong to the answer and not to what is known of the rows
HEAD = ("probabilities", "standard_value", "value")


@dataclass(frozen=True)
class Ends:
    """What a network takes and gives.

    Args:
        input_shape: Shape of a row: (height, width, channels) of an image, (width,) of a table, or
            (length,) of a text.
        problem: What is predicted.
        kind: What a row is: pixels uint8, columns float32, or tokens int32.
        pixel_maximum: Largest pixel value; only for images.
        classes: Number of classes, for text generation of tokens; 0 for regression.
        target_mean: Mean of the training targets; only for regression.
        target_deviation: Their standard deviation; only for regression.
        codes: Of a table whose categories are coded, the number of codes of each of its last
            columns; else empty.
        vocabulary: Number of different tokens; only for texts.
        padding: The token that fills a short text up; only for texts.
    """

    input_shape: tuple[int, ...]
    problem: Problem = "classification"
    kind: InputKind = "table"
    pixel_maximum: int | None = None
    classes: int = 0
    target_mean: float = 0.0
    target_deviation: float = 1.0
    codes: tuple[int, ...] = ()
    vocabulary: int = 0
    padding: int = 0

    @property
    def is_sequence(self) -> bool:
        """Whether there is an answer for each token, and not one for the row."""
        return self.problem in {"token_classification", "text_generation"}


def require_kind(ends: Ends, architecture: str, *kinds: InputKind) -> None:
    """Makes sure that an architecture gets the kind of rows that it is for.

    Raises:
        ConfigError: It gets another.
    """
    if ends.kind not in kinds:
        raise ConfigError(
            f"The architecture {architecture!r} got rows of kind {ends.kind!r}, of shape "
            f"{ends.input_shape}; it needs {' or '.join(map(repr, kinds))}. Use another "
            "model.architecture, or another dataset."
        )


def take_in(ends: Ends) -> tuple["keras.KerasTensor", "keras.KerasTensor"]:
    """The input, and the same as the first layer takes it.

    Pixels are rescaled to between 0 and 1; columns and tokens stay as they are.
    """
    import keras

    if ends.kind == "text":
        tokens = keras.Input(ends.input_shape, dtype="int32", name="tokens")
        return tokens, tokens
    if ends.pixel_maximum is None:
        inputs = keras.Input(ends.input_shape, dtype="float32", name="columns")
        return inputs, inputs
    inputs = keras.Input(ends.input_shape, dtype="uint8", name="pixels")
    return inputs, keras.layers.Rescaling(1 / ends.pixel_maximum, name="rescaled")(inputs)


def hidden_layers(flat: "keras.KerasTensor", config: ModelConfig) -> "keras.KerasTensor":
    """Dense layers, each followed by dropout; none where the configuration has none."""
    import keras

    for number, units in enumerate(config.hidden_units, start=1):
        flat = keras.layers.Dense(units, activation=config.activation, name=f"hidden_{number}")(
            flat
        )
        if config.dropout:
            flat = keras.layers.Dropout(config.dropout, name=f"dropout_{number}")(flat)
    return flat


def give_out(last: "keras.KerasTensor", ends: Ends) -> "keras.KerasTensor":
    """Probabilities, or values in the unit of the targets; float32 under any precision.

    The last layer of a regression maps zero mean and unit variance to the targets' own, so that
    what is trained is of order one whatever the unit.

    Args:
        last: [rows, features], or for problems of sequences [rows, length, features].
        ends: What goes out.
    """
    import keras

    if ends.classes:
        return keras.layers.Dense(
            ends.classes, activation="softmax", dtype="float32", name="probabilities"
        )(last)
    standard = keras.layers.Dense(1, dtype="float32", name="standard_value")(last)
    return keras.layers.Rescaling(
        ends.target_deviation, ends.target_mean, dtype="float32", name="value"
    )(standard)
