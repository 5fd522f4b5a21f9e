"""What is trained and how: the configurations of the network and of the training loop."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tasks.stage_config import StageConfig

LayerSize = Annotated[int, Field(ge=1, le=65_536)]


class ModelConfig(StageConfig):
    """The network."""

    architecture: str = Field(default="mlp", description="A file in tasks/models.")
    hidden_units: tuple[LayerSize, ...] = Field(
        default=(64,), max_length=8, description="Units of each dense hidden layer."
    )
    activation: Literal["relu", "tanh", "sigmoid", "gelu"] = Field(
        default="relu", description="What follows each dense hidden layer."
    )
    dropout: float = Field(
        default=0.2, ge=0, lt=1, description="Share of the hidden units dropped in training."
    )
    filters: tuple[LayerSize, ...] = Field(
        default=(32, 64), max_length=6, description="Filters of each block of convolutions."
    )
    convolutions: int = Field(
        default=1, ge=1, le=4, description="Convolutions in each block, before it is pooled."
    )
    batch_normalization: bool = Field(
        default=False, description="Each convolution is normalised over the rows of its batch."
    )
    embedding_size: LayerSize = Field(
        default=64, description="Numbers that a token, or a category, is looked up as, at most."
    )
    recurrent_units: LayerSize = Field(default=64, description="Units of the LSTM.")
    bidirectional: bool = Field(default=False, description="The LSTM reads both ways.")
    transformer_layers: int = Field(
        default=2, ge=1, le=48, description="Layers of a transformer that is not pretrained."
    )
    attention_heads: int = Field(
        default=4, ge=1, le=64, description="Attention heads of each of them."
    )
    leaf_nodes: int = Field(default=31, ge=2, le=4096, description="Most leaves of each tree.")
    leaf_rows: int = Field(default=20, ge=1, description="Fewest training rows in a leaf.")
    l2: float = Field(default=0.0, ge=0, description="Penalty on the size of a leaf's value.")
    pretrained: str | None = Field(
        default=None,
        description="Pretrained weights: a folder in the Hugging Face layout, "
        "'package:<installed package>/<folder in it>', a KerasHub preset, 'imagenet', or a file of "
        "weights. Default: none.",
    )
    initial_weights: str | None = Field(
        default=None,
        pattern=r"^models:/[a-z0-9][a-z0-9-]{0,62}(@[A-Za-z][\w-]*|/\d+)$",
        description="A registered version to start from, such as models:/mnist-cnn@champion.",
    )
    initial_part: Literal["whole", "backbone"] = Field(
        default="whole",
        description="'whole': all of its weights. 'backbone': all but those of the last layer.",
    )


class TrainingConfig(StageConfig):
    """The training loop."""

    epochs: int = Field(
        default=20, ge=1, le=10_000, description="Passes over the training rows, or trees."
    )
    batch_size: int = Field(default=32, ge=1, le=65_536, description="Rows per step.")
    learning_rate: float = Field(default=1e-3, gt=0, le=10, description="Step size of Adam.")
    schedule: Literal["constant", "cosine", "one_cycle"] = Field(
        default="constant",
        description="'cosine': the learning rate falls to 0 along a half cosine. 'one_cycle': it "
        "first rises, over the first 30 % of the steps or the warm-up.",
    )
    warmup: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the steps over which the learning rate rises from 0.",
    )
    weight_decay: float = Field(
        default=0.0, ge=0, lt=1, description="Decoupled weight decay (AdamW); 0: plain Adam."
    )
    frozen_epochs: int = Field(
        default=0,
        ge=0,
        description="First epochs, of all, in which the backbone keeps its weights.",
    )
    fine_tuning_rate: float | None = Field(
        default=None,
        gt=0,
        le=10,
        description="Learning rate after the frozen epochs. Default: learning_rate.",
    )
    fine_tuned_layers: tuple[str, ...] = Field(
        default=(),
        description="Beginnings of the names of the backbone's layers that are trained after the "
        "frozen epochs. Empty: all.",
    )
    patience: int = Field(
        default=5,
        ge=0,
        description="Epochs without a better validation loss before training stops early; the "
        "best epoch's weights are kept. 0: never stop early.",
    )
    loss: Literal["auto", "squared_error", "absolute_error"] = Field(
        default="auto",
        description="Only for regression; 'auto': squared error.",
    )
    labels: Literal["integer", "one_hot"] = Field(
        default="integer", description="How the loss is given the label; the result is the same."
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of each label that is spread over all classes; needs 'one_hot'.",
    )
    shift: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Augmentation of images: largest random shift, as a share of the side.",
    )
    rotation: float = Field(
        default=0.0,
        ge=0,
        le=180,
        description="Augmentation of images: largest random rotation, in degrees.",
    )
    zoom: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Augmentation of images: largest random change of size, as a share.",
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

    @model_validator(mode="after")
    def _smooths_only_vectors(self) -> "TrainingConfig":
        if self.label_smoothing and self.labels != "one_hot":
            raise PydanticCustomError(
                "label_smoothing",
                "label_smoothing {share} came with labels {labels!r}; expected 'one_hot', as a "
                "class index cannot be spread. Use --set training.labels=one_hot as well",
                {"share": self.label_smoothing, "labels": self.labels},
            )
        return self
