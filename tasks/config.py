"""What is trained, and how: one small frozen model per stage.

These models are the flow's parameters, so the Prefect UI draws them as a form, and
`roundhouse run NAME --set stage.field=value` edits the same tree. An unknown key, a wrong type or a
value out of range is refused before any work starts.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from tasks.appraisal_config import ExplanationConfig, ExportConfig, SliceConfig
from tasks.network_config import ModelConfig, TrainingConfig
from tasks.remote import holds_secret, shown
from tasks.stage_config import StageConfig

__all__ = [
    "CheckConfig",
    "EvaluationConfig",
    "ExplanationConfig",
    "ExportConfig",
    "GateConfig",
    "IngestionConfig",
    "ModelConfig",
    "PipelineConfig",
    "PreparationConfig",
    "SliceConfig",
    "SplitConfig",
    "StageConfig",
    "TrainingConfig",
]


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
    labels: tuple[str, ...] = Field(
        default=(), description="Use only rows with one of these labels. Empty: all."
    )
    image_size: Annotated[int, Field(ge=8, le=2048)] = Field(
        default=64,
        description="Height and width, in pixels, that images of a folder get.",
    )
    damaged: Literal["refuse", "leave_out"] = Field(
        default="refuse",
        description="'refuse': a damaged image stops the run, by name. 'leave_out': it is left "
        "out, and told.",
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
    training_rows_per_label: int | None = Field(
        default=None,
        ge=1,
        description="Train on at most so many rows of each label, chosen by a stable hash.",
    )
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
    categories: Literal["one_hot", "codes"] = Field(
        default="one_hot",
        description="'one_hot': an input per category. 'codes': a number per column, which the "
        "network looks an embedding up by.",
    )
    tokens: Literal["words", "word_pieces", "byte_pairs"] = Field(
        default="words",
        description="What a text is cut into; 'word_pieces' as BERT does, 'byte_pairs' as GPT-2.",
    )
    vocabulary: str | None = Field(
        default=None,
        description="Where the vocabulary comes from, as in model.pretrained. Default: it is "
        "fitted on the training rows.",
    )
    vocabulary_size: int = Field(
        default=10_000, ge=10, le=1_000_000, description="Most tokens of a fitted vocabulary."
    )
    text_length: int = Field(
        default=64, ge=2, le=8192, description="Tokens of a text; longer ones are cut there."
    )
    lowercase: bool = Field(default=True, description="Texts are put in lower case.")


class EvaluationConfig(StageConfig):
    """What the trained model is measured against."""

    baseline: Literal["linear", "boosting", "seasonal_naive"] = Field(
        default="linear",
        description="The plain model beside the majority class (or mean), on the same rows: "
        "logistic or ridge regression (of texts: on TF-IDF), gradient boosting, or the value one "
        "season before.",
    )
    season_hours: float = Field(
        default=168.0, gt=0, description="Length of a season, for 'seasonal_naive'."
    )
    calibration_bins: int = Field(
        default=10, ge=2, le=100, description="Bins of the calibration error and picture."
    )
    mistakes: int = Field(
        default=25, ge=0, le=100, description="Most confident mistakes in the picture, for images."
    )
    generated_rows: int = Field(
        default=50, ge=0, le=10_000, description="Test texts whose second half is generated."
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
        default=True,
        description="It must be better than the simplest baseline: the majority class, the mean, "
        "the value one season before, or the frequencies of tokens.",
    )
    baseline_margin: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="By how much better, as a share of the baseline's figure.",
    )
    compare_with_champion: bool = Field(
        default=True, description="Today's champion, on the same rows, decides by the rule."
    )
    rule: Literal["not_worse", "better"] = Field(
        default="not_worse",
        description="What must be sure: that it is not worse than the champion by more than the "
        "margin, or that it is better by more than the margin.",
    )
    margin: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="As a share of the champion's figure. Default: 0.02 for not_worse, 0 for "
        "better.",
    )
    confidence: float = Field(
        default=0.95,
        ge=0.5,
        le=0.99,
        description="How sure: the confidence of the interval of the difference.",
    )
    clusters: str | None = Field(
        default=None,
        description="The column whose values, or days, tell which rows depend on each other. "
        "Default: the column of a split by group or time, else each row stands alone; 'none': "
        "each row stands alone.",
    )
    slice_rows: int = Field(
        default=50, ge=1, description="Fewest test rows of a slice on which a rule judges it."
    )
    slice_loss: float | None = Field(
        default=None,
        ge=0,
        description="The most that any slice may lose against the champion on the same rows, in "
        "units of the metric: 0.02 are two points of accuracy. A larger loss counts where chance "
        "alone does not explain it, at the confidence for all slices together.",
    )
    slice_minimum: float | None = Field(
        default=None,
        description="The worst acceptable value of the metric in any slice (a maximum, for error "
        "metrics).",
    )
    parity_gap: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Largest gap of demographic parity between the groups of a sensitive column: "
        "of the shares of their rows that are given a class.",
    )
    odds_gap: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Largest gap of equalised odds between the groups of a sensitive column: of "
        "their rates of true and of false positives.",
    )
    latency_ms: float | None = Field(
        default=None,
        gt=0,
        description="Most milliseconds that the registered version may need for a single row, "
        "the 99th percentile in the proof.",
    )
    size_mb: float | None = Field(default=None, gt=0, description="Most megabytes of the package.")


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
    slices: SliceConfig = SliceConfig()
    gate: GateConfig = GateConfig()
    explanation: ExplanationConfig = ExplanationConfig()
    export: ExportConfig = ExportConfig()
