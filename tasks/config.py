"""What is trained, and how: one small frozen model per stage.

These models are the flow's parameters, so the Prefect UI draws them as a form, and
`roundhouse run NAME --set stage.field=value` edits the same tree. An unknown key, a wrong type or a
value out of range is refused before any work starts.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from tasks.remote import holds_secret, shown

LayerSize = Annotated[int, Field(ge=1, le=65_536)]


class StageConfig(BaseModel):
    """What all stage configurations have in common: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class IngestionConfig(StageConfig):
    """Which data, and from where."""

    dataset: str = Field(description="Name of the dataset: a file in tasks/datasets.")
    location: str | None = Field(
        default=None,
        description="A folder, http(s) address or object-store address with the source files. "
        "Default: the setting ROUNDHOUSE_DATA_DIR, else the dataset's public address.",
    )
    checksum: Literal["published", "none"] = Field(
        default="published",
        description="'published': the files must be byte for byte the published ones. "
        "'none': accept any content, for data of your own that grows.",
    )
    rows: int | None = Field(
        default=None,
        ge=10,
        description="Use only this many rows, chosen by a stable hash; for a trial run.",
    )

    @field_validator("location")
    @classmethod
    def _holds_no_secret(cls, location: str | None) -> str | None:
        if location and holds_secret(location):
            raise PydanticCustomError(
                "secret",
                "the address {address} came with a user, a password or a query; expected none, as "
                "parameters are kept with each run and shown. Put the whole address into the "
                "environment, as ROUNDHOUSE_DATA_DIR, and leave ingestion.location out",
                {"address": shown(location)},
            )
        return location


class CheckConfig(StageConfig):
    """How strict the data checks are."""

    minimum_rows: int | None = Field(
        default=None, ge=1, description="Fewest rows allowed. Default: the suite's own."
    )
    maximum_missing: float = Field(
        default=0.05, ge=0, le=1, description="Largest share of blanks allowed in a column."
    )
    minimum_label_share: float = Field(
        default=0.01, ge=0, le=1, description="Smallest share of the rows each label must have."
    )
    warn_only: tuple[str, ...] = Field(
        default=(), description="Names of checks that are reported and do not stop the run."
    )
    examples: int = Field(
        default=3, ge=0, le=20, description="Rows shown as examples for each failed check."
    )


class SplitConfig(StageConfig):
    """Which rows train, which validate, which test."""

    strategy: Literal["hash", "group", "time"] = Field(
        default="hash",
        description="'hash': by a stable hash of each row's identity. 'group': all rows of a "
        "group on one side. 'time': the newest rows test.",
    )
    column: str | None = Field(
        default=None, description="The column with the group or the time; not used for 'hash'."
    )
    validation: float = Field(default=0.15, gt=0, lt=0.5, description="Share that validates.")
    test: float = Field(default=0.15, gt=0, lt=0.5, description="Share that tests.")
    seed: int = Field(
        default=0, ge=0, description="Another number gives another split of the same rows."
    )


class PreparationConfig(StageConfig):
    """How raw columns become the network's inputs; fitted on the training rows only."""

    scaling: Literal["standard", "none"] = Field(
        default="standard",
        description="'standard': zero mean and unit variance, for each numeric column.",
    )
    imputation: Literal["median", "mean"] = Field(
        default="median", description="What a blank in a numeric column becomes."
    )
    minimum_category_rows: int = Field(
        default=5,
        ge=1,
        description="A category with fewer training rows goes to the unknown bucket.",
    )


class ModelConfig(StageConfig):
    """The network."""

    architecture: Literal["mlp", "cnn"] = Field(
        default="mlp", description="A file in tasks/models."
    )
    hidden_units: tuple[LayerSize, ...] = Field(
        default=(64,), max_length=8, description="Units of each dense hidden layer."
    )
    filters: tuple[LayerSize, ...] = Field(
        default=(32, 64),
        max_length=6,
        description="Filters of each convolution block; only for 'cnn'.",
    )
    dropout: float = Field(
        default=0.2, ge=0, lt=1, description="Share of the hidden units dropped in training."
    )


class TrainingConfig(StageConfig):
    """The training loop."""

    epochs: int = Field(default=20, ge=1, le=10_000, description="Passes over the training rows.")
    batch_size: int = Field(default=32, ge=1, le=65_536, description="Rows per step.")
    learning_rate: float = Field(default=1e-3, gt=0, le=10, description="Step size of Adam.")
    patience: int = Field(
        default=5,
        ge=0,
        description="Epochs without a better validation loss before training stops early; the "
        "best epoch's weights are kept. 0: never stop early.",
    )
    class_weights: Literal["none", "balanced"] = Field(
        default="none", description="'balanced': rare labels weigh more, by their inverse share."
    )
    precision: Literal["auto", "float32", "mixed_bfloat16"] = Field(
        default="auto", description="'auto': mixed bfloat16 on a GPU that has it, else float32."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of weights, shuffling, dropout.")
    deterministic: bool = Field(
        default=False,
        description="Bit-for-bit repeatable on the same machine type, at some cost in speed.",
    )


class EvaluationConfig(StageConfig):
    """What the trained model is measured against."""

    baseline: Literal["linear", "boosting"] = Field(
        default="linear",
        description="The plain model beside the majority class (or mean): logistic or ridge "
        "regression, or gradient boosting, on the same rows.",
    )
    calibration_bins: int = Field(
        default=10, ge=2, le=100, description="Bins of the calibration error and picture."
    )
    mistakes: int = Field(
        default=25, ge=0, le=100, description="Most confident mistakes in the picture, for images."
    )


class GateConfig(StageConfig):
    """What a model must show before it becomes the champion."""

    metric: str = Field(default="accuracy", description="The metric by which models are compared.")
    minimum: float | None = Field(
        default=None,
        description="The worst acceptable value of the metric (a maximum, for error metrics).",
    )
    minimum_rows: int = Field(
        default=30, ge=1, description="Fewest test rows on which a model is judged or compared."
    )
    beat_baseline: bool = Field(
        default=True, description="It must be better than the majority class (or the mean)."
    )
    compare_with_champion: bool = Field(
        default=True, description="It must not be worse than today's champion on the same rows."
    )
    margin: float = Field(
        default=0.0, ge=0, description="How much worse than the champion still counts as not worse."
    )


class PipelineConfig(StageConfig):
    """Everything that decides what a pipeline trains: the parameters of the flow."""

    pipeline: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
        description="Name of the pipeline; also of its experiment and its registered model.",
    )
    ingestion: IngestionConfig
    checks: CheckConfig = CheckConfig()
    split: SplitConfig = SplitConfig()
    preparation: PreparationConfig = PreparationConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()
