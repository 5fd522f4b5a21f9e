import json
from pathlib import Path

import numpy as np
import pytest

from tasks.config import ModelConfig
from tasks.errors import ConfigError
from tasks.handoffs import Arrays, PreparedData, Snapshot, StoredFile
from tasks.models import build_model
from tasks.models.archive import save_network, summary_of

FILE = StoredFile(uri="nowhere", sha256="0", size=0)
ARRAYS = Arrays(inputs=FILE, labels=FILE, rows=FILE, count=0)

# the others are for texts, for tables, or for larger images
FOR_SMALL_IMAGES = ("cnn", "mlp")


def prepared(
    shape: tuple[int, ...], classes: tuple[str, ...], maximum: int | None = None
) -> PreparedData:
    problem = "classification" if classes else "regression"
    snapshot = Snapshot(
        dataset="trial", problem=problem, file=FILE, rows=0, columns=(), source_digest=""
    )
    return PreparedData(
        snapshot=snapshot,
        split={},
        train=ARRAYS,
        validation=ARRAYS,
        test=ARRAYS,
        preprocessing=FILE,
        classes=classes,
        input_shape=shape,
        kind="image" if maximum else "table",
        pixel_maximum=maximum,
    )


@pytest.mark.parametrize("architecture", FOR_SMALL_IMAGES)
def test_images_give_one_probability_per_class(architecture: str) -> None:
    images = np.full((5, 8, 6, 1), 16, dtype=np.uint8)
    config = ModelConfig(architecture=architecture)
    probabilities = build_model(config, prepared((8, 6, 1), ("a", "b", "c"), 16)).predict(
        images, verbose=0
    )
    assert probabilities.shape == (5, 3)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(5))


def test_two_classes_give_two_columns() -> None:
    model = build_model(ModelConfig(), prepared((4,), ("no", "yes")))
    assert model.output.shape == (None, 2)


def test_pixels_come_in_as_they_are_stored() -> None:
    model = build_model(ModelConfig(hidden_units=()), prepared((2, 2, 1), ("a", "b"), 16))
    rescaled = model.get_layer("rescaled")(np.full((1, 2, 2, 1), 16, dtype=np.uint8))
    assert np.asarray(rescaled).max() == pytest.approx(1.0)


def test_regression_answers_in_the_unit_of_the_targets() -> None:
    model = build_model(ModelConfig(), prepared((3,), ()), targets=(5_000.0, 10.0))
    values = model.predict(np.zeros((2, 3), dtype=np.float32), verbose=0)
    assert values.ravel() == pytest.approx([5_000.0, 5_000.0], abs=50)


def test_output_stays_float32_under_mixed_precision() -> None:
    from tasks.devices import precision_policy

    with precision_policy("mixed_bfloat16"):
        model = build_model(ModelConfig(), prepared((3,), ("a", "b")))
    assert model.get_layer("hidden_1").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


def test_plain_convolution_has_no_other_layers() -> None:
    config = ModelConfig(architecture="cnn", filters=(32,), hidden_units=(), dropout=0)
    model = build_model(config, prepared((8, 8, 1), ("a", "b"), 16))
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["InputLayer", "Rescaling", "Conv2D", "MaxPooling2D", "Flatten", "Dense"]


def test_unknown_architecture_names_the_known_ones() -> None:
    config = ModelConfig().model_copy(update={"architecture": "transformer"})
    with pytest.raises(ConfigError, match=r"'transformer'.*cnn, .*mlp.*--set model\.architecture"):
        build_model(config, prepared((3,), ("a", "b")))


def test_cnn_refuses_tables() -> None:
    with pytest.raises(ConfigError, match=r"needs images.*--set model\.architecture=mlp"):
        build_model(ModelConfig(architecture="cnn"), prepared((3,), ("a", "b")))


@pytest.mark.parametrize("filters", [(), (8, 8, 8, 8)])
def test_cnn_refuses_blocks_that_the_images_do_not_allow(filters: tuple[int, ...]) -> None:
    config = ModelConfig(architecture="cnn", filters=filters)
    with pytest.raises(ConfigError, match=r"expected 1 to 3, .*8 x 9 pixels"):
        build_model(config, prepared((8, 9, 1), ("a", "b"), 16))


@pytest.mark.parametrize("architecture", FOR_SMALL_IMAGES)
def test_stored_network_loads_safely_and_predicts_the_same(
    architecture: str, tmp_path: Path
) -> None:
    import keras

    images = np.arange(128, dtype=np.uint8).reshape(2, 8, 8, 1)
    config = ModelConfig(architecture=architecture)
    model = build_model(config, prepared((8, 8, 1), ("a", "b"), 255))
    save_network(model, tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    assert np.array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))


def test_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    import keras

    for name in ("one", "two"):
        keras.utils.set_random_seed(3)
        model = build_model(ModelConfig(), prepared((3,), ("a", "b")))
        model.compile("adam", "mse")
        save_network(model, tmp_path / f"{name}.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.keras", "two.keras"]


def test_summary_counts_the_parameters() -> None:
    model = build_model(ModelConfig(hidden_units=(5,)), prepared((3,), ("a", "b")))
    lines = summary_of(model).splitlines()
    assert lines[-1].split() == ["total", str(3 * 5 + 5 + 5 * 2 + 2)]
    assert json.dumps(lines[2]).split()[1:4] == ["Dense", "5", '20"']
