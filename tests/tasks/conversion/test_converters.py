import os
from pathlib import Path

import keras
import numpy as np
import pytest

from tasks.config import ModelConfig
from tasks.conversion.converters import convert, zip_folder
from tasks.conversion.forms import FILES, Form
from tasks.conversion.runtimes import open_form
from tasks.devices import precision_policy
from tasks.models import MODELS
from tasks.models.archive import load_network, save_network
from tasks.models.ends import Ends

FORMATS = tuple(FILES)
# the largest difference of a probability
BOUNDS = {"none": 1e-4, "float16": 2e-3, "int8": 5e-2}


def write(network: keras.Model, folder: Path) -> Path:
    save_network(network, folder / "network.keras")
    return folder / "network.keras"


def made(source: Path, form: Form, folder: Path) -> Path:
    name = "saved_model" if form.format == "saved_model" else FILES[form.format]
    convert(source, form, folder / name)
    return folder / name


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 8, 8, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of pixels, with what is told apart in training and in use, as a GPU trains it."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    with precision_policy("mixed_bfloat16"):
        network = keras.Sequential(
            [
                keras.Input((8, 8, 1), dtype="uint8"),
                layers.Rescaling(1 / 255),
                layers.Conv2D(4, 3, activation="relu"),
                layers.BatchNormalization(),
                layers.Flatten(),
                layers.Dropout(0.5),
                layers.Dense(64, activation="relu"),
                layers.Dense(3, activation="softmax", dtype="float32"),
            ]
        )
    return write(network, tmp_path_factory.mktemp("source"))


@pytest.mark.parametrize("quantisation", BOUNDS)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_form_predicts_in_its_own_runtime_what_the_network_does(
    kind: str, quantisation: str, source: Path, images: np.ndarray, tmp_path: Path
) -> None:
    form = Form(kind, quantisation)  # type: ignore[arg-type]
    path = made(source, form, tmp_path)
    network, expected = open_form(path, form.format), load_network(source)(images)
    for rows in (images, images[:1]):
        found = network(rows)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[: len(rows)], atol=BOUNDS[quantisation])
    # the signatures and graphs that come on top do not shrink
    share = {"none": 1.25, "float16": 0.7, "int8": 0.6}[quantisation]
    if kind != "saved_model":
        assert size_of(path) < share * size_of(source)
    else:
        assert size_of(path / "variables") < share * size_of(source)


def test_a_network_with_loops_becomes_litert_for_one_row_at_a_time(tmp_path: Path) -> None:
    layers = keras.layers
    tokens = keras.Input((5,), dtype="int32")
    values = layers.LSTM(3)(layers.Embedding(20, 4, mask_zero=True)(tokens))
    network = keras.Model(tokens, layers.Dense(2, activation="softmax")(values))
    rows = np.random.default_rng(0).integers(0, 20, (4, 5)).astype(np.int32)
    path = made(write(network, tmp_path), Form("litert"), tmp_path)
    expected = load_network(tmp_path / "network.keras")(rows)
    np.testing.assert_allclose(open_form(path, "litert")(rows), expected, atol=1e-5)


def test_the_same_files_give_the_same_zip_whenever_they_were_written(tmp_path: Path) -> None:
    for name, order in (("one", ("b.pb", "variables/a")), ("two", ("variables/a", "b.pb"))):
        for number, part in enumerate(order):
            path = tmp_path / name / part
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(part)
            os.utime(path, (1e9 + number, 1e9 + number))
        zip_folder(tmp_path / name, tmp_path / f"{name}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_pruned_weights_are_smaller_where_they_are_compressed(source: Path, tmp_path: Path) -> None:
    from tasks.fitting import prune
    from tasks.models.archive import open_network

    network = open_network(source)
    prune(network, 0.9)
    (tmp_path / "pruned").mkdir()
    pruned = made(write(network, tmp_path / "pruned"), Form("keras"), tmp_path / "pruned")
    whole = made(source, Form("keras"), tmp_path)
    assert size_of(pruned) < 0.6 * size_of(whole)


ENDS = {
    "mlp": Ends((6,), classes=3),
    "cnn": Ends((8, 8, 1), kind="image", pixel_maximum=16, classes=3),
    "vgg16": Ends((32, 32, 3), kind="image", pixel_maximum=255, classes=2),
    "text_cnn": Ends((12,), kind="text", vocabulary=30, classes=2),
    "lstm": Ends((12,), kind="text", vocabulary=30, classes=2),
    "bert": Ends((12,), kind="text", vocabulary=30, classes=2),
    "gpt2": Ends((12,), kind="text", vocabulary=30, classes=30, problem="text_generation"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("architecture", ENDS)
def test_every_architecture_can_be_converted(architecture: str, kind: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    ends, random = ENDS[architecture], np.random.default_rng(0)
    network = MODELS[architecture](ends, ModelConfig(architecture=architecture))
    row, largest = network.inputs[0], ends.pixel_maximum or ends.vocabulary or 1
    rows = random.integers(0, largest, (3, *row.shape[1:])).astype(row.dtype)
    source = write(network, tmp_path)
    form = Form(kind)  # type: ignore[arg-type]
    found = open_form(made(source, form, tmp_path), form.format)(rows)
    np.testing.assert_allclose(found, load_network(source)(rows), atol=1e-4)
