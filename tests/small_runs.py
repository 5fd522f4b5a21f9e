"""What makes each pipeline that is shipped small enough for a test, on the data of stand_ins."""

from pathlib import Path

from infra.pipelines import configure, load_pipelines
from tasks.config import PipelineConfig
from tasks.settings import Settings

PIPELINES = load_pipelines(Settings().pipelines)
# by the test of deployments: trees, each time, and tags of words and what starts from another
DEPLOYED = ("churn-boosting", "entities-bert", "mnist-low", "mnist-transfer")
# of these an explanation is made as well, a small one: a table, images, and trees
EXPLAINED = ("churn", "mnist-cnn", "churn-boosting")
AS_ON_A_GPU = ("training.precision=mixed_bfloat16", "export.formats=[onnx]")
FEW = ("repeats=1", "sample_rows=40", "mistakes=1", "random_rows=1", "steps=4")
# what makes each small; the bars are those of the real data, so they are taken away as well
SMALL_BERT = ("preparation.text_length=16", "training.frozen_epochs=0", "training.epochs=2")
CHANGES: dict[str, tuple[str, ...]] = {
    "mnist-mlp": ("training.epochs=8", "training.learning_rate=0.005"),
    "mnist-cnn": ("training.epochs=3", "training.learning_rate=0.005"),
    "mnist-cnn-best": ("training.epochs=3", "model.filters=[8, 16]", "model.convolutions=1"),
    "mnist-low": ("training.epochs=3", "model.filters=[8, 8]", "model.hidden_units=[32]"),
    "mnist-transfer": (
        "training.epochs=8", "model.filters=[8, 8]", "model.hidden_units=[32]",
        "split.training_rows_per_label=40",
    ),
    "image-vgg16": (
        "ingestion.image_size=32", "model.hidden_units=[8]",
        "training.epochs=2", "training.frozen_epochs=1", "gate.beat_baseline=false",
    ),
    "sentiment-lstm": (
        "training.epochs=3", "training.learning_rate=0.01",
        "model.recurrent_units=8", "model.embedding_size=16",
    ),
    "sentiment-bert": SMALL_BERT,
    "entities-bert": SMALL_BERT,
    "spam": ("training.epochs=4", "model.filters=[16]", "preparation.vocabulary_size=200"),
    "text-generation": (
        "training.epochs=6", "training.learning_rate=0.01",
        "preparation.vocabulary_size=300", "preparation.text_length=24",
        "model.transformer_layers=1", "model.embedding_size=32", "evaluation.generated_rows=4",
        "gate.baseline_margin=0.1",
    ),
    "bike-demand": ("training.epochs=10", "gate.baseline_margin=0", "gate.beat_baseline=false"),
    "churn": ("training.epochs=20",),
    "churn-boosting": ("training.epochs=40",),
    "income": (
        "training.epochs=20", "gate.beat_baseline=false", "gate.slice_minimum=0.1",
        "gate.odds_gap=1", "gate.slice_rows=10", "model.leaf_rows=10",
    ),
}  # fmt: skip


def small(name: str, data: Path, weights: Path, *, as_on_a_gpu: bool = False) -> PipelineConfig:
    """A pipeline that learns in seconds; its bars, which are of the real data, are taken away.

    Args:
        name: Its name.
        data: A folder filled by `stand_ins.write_all`.
        weights: A file of VGG16's weights without its top, as somebody has it without a network.
        as_on_a_gpu: Whether it trains in the precision of a GPU; it is explained and exported then.
    """
    changes = CHANGES.get(name, ())
    if name in CHANGES:
        place = data / "images" if name == "image-vgg16" else data
        changes = (
            "ingestion.checksum=none", f"ingestion.location={place}", "checks.minimum_rows=100",
            "gate.minimum_rows=20", *changes,
        )  # fmt: skip
        if PIPELINES[name].parameters["gate"].get("minimum"):
            changes += ("gate.minimum=0",)
    few = FEW if name in EXPLAINED or as_on_a_gpu else ("enabled=false",)
    changes += tuple(f"explanation.{change}" for change in few)
    if as_on_a_gpu:
        changes += AS_ON_A_GPU
    if name == "image-vgg16":
        changes += (f"model.pretrained={weights}",)
    return configure(PIPELINES[name], changes)


def write_weights(path: Path) -> None:
    """Weights of VGG16 that nobody trained."""
    import keras

    keras.applications.VGG16(weights=None, include_top=False).save_weights(path)
