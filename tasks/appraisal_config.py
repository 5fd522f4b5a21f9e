"""How a trained model is appraised beyond its figures: slices, explanations, smaller forms."""

from typing import Literal

from pydantic import Field

from tasks.stage_config import StageConfig

ExportFormat = Literal["keras", "litert", "onnx", "saved_model"]


class SliceConfig(StageConfig):
    """By which columns the test rows are sliced, and which of them must be treated alike."""

    columns: tuple[str, ...] = Field(
        default=(),
        description="Columns by whose values the test rows are sliced, also those that are no "
        "features: a numeric one by its quartiles, or by edges such as 'age=25,40,65'; a text by "
        "its number of words.",
    )
    sensitive: tuple[str, ...] = Field(
        default=(),
        description="Columns whose groups must be treated alike: they are sliced as well, and "
        "the gaps of demographic parity and equalised odds between their groups are measured.",
    )
    confidence: float = Field(
        default=0.95, ge=0.5, le=0.99, description="Of the interval of each slice's metric."
    )


class ExplanationConfig(StageConfig):
    """What a trained model looks at."""

    enabled: bool = Field(default=True, description="Explain each trained model.")
    repeats: int = Field(
        default=5, ge=1, le=100, description="How often each column is shuffled, for tables."
    )
    sample_rows: int = Field(
        default=1_000, ge=10, description="Test rows in which columns are shuffled, for tables."
    )
    mistakes: int = Field(
        default=4, ge=0, le=50, description="Most confident mistakes that are explained."
    )
    random_rows: int = Field(
        default=4, ge=0, le=50, description="Other test rows that are explained."
    )
    steps: int = Field(
        default=16,
        ge=4,
        le=1_000,
        description="Steps of integrated gradients, for each row; doubled where they do not "
        "suffice. For tables: rows that it is compared with.",
    )


class ExportConfig(StageConfig):
    """Smaller and other forms of a trained network; nothing by default."""

    formats: tuple[ExportFormat, ...] = Field(
        default=(),
        description="Forms that are made: LiteRT for phones, ONNX for other runtimes, SavedModel "
        "for TensorFlow Serving. Empty: none; where weights are quantised or pruned, keras.",
    )
    quantisation: Literal["none", "float16", "int8"] = Field(
        default="none", description="Numbers with fewer bits, for the weights."
    )
    pruning: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the weights that are set to zero, the smallest of all layers. The "
        "files are smaller where they are compressed.",
    )
    fine_tuning_epochs: int = Field(
        default=1, ge=0, le=100, description="Epochs of training after pruning; zeros stay zero."
    )
    maximum_loss: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="Largest loss of the gate's metric, as a share of the original's, at which an "
        "exported form is kept.",
    )
