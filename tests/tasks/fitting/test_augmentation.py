import keras
import numpy as np
import pytest

from tasks.fitting import FitSettings, fit
from tasks.fitting.augmentation import RandomAffine, augmented

SIDE = 21
SETTINGS = FitSettings(
    "classification", epochs=6, batch_size=16, learning_rate=0.01, shift=0.1, rotation=10, zoom=0.1
)


def bars(rows: int, dtype: str = "uint8") -> np.ndarray:
    """A bright square in the middle of each image."""
    images = np.zeros((rows, SIDE, SIDE, 1), dtype)
    images[:, 8:13, 8:13] = 200
    return images


def moved(images: np.ndarray, shift: float = 0.0, rotation: float = 0.0, zoom: float = 0.0):
    layer = RandomAffine(shift, rotation, zoom, seed=1)
    return keras.ops.convert_to_numpy(layer(images, training=True))


def centres(images: np.ndarray) -> np.ndarray:
    weights = images[..., 0].astype(float)
    places = np.stack(np.mgrid[:SIDE, :SIDE], axis=-1)
    return np.einsum("rij,ijk->rk", weights, places) / weights.sum((1, 2))[:, None]


def test_nothing_is_done_outside_of_training() -> None:
    layer = RandomAffine(0.2, 90, 0.2, seed=1)
    assert np.array_equal(layer(bars(3), training=False), bars(3))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_images_stay_images_of_their_kind(dtype: str) -> None:
    images = bars(4, dtype)
    changed = moved(images, 0.2, 90, 0.2)
    assert (changed.shape, changed.dtype) == (images.shape, images.dtype)
    assert not np.array_equal(changed, images)


def test_shifts_go_every_way_and_not_too_far() -> None:
    found = centres(moved(bars(200), shift=0.2)) - SIDE // 2
    assert np.abs(found).max() <= 0.2 * SIDE
    assert (found.min(0) < -0.15 * SIDE).all()
    assert (found.max(0) > 0.15 * SIDE).all()


def test_rotation_and_zoom_keep_the_centre() -> None:
    changed = moved(bars(50), rotation=180, zoom=0.3)
    assert centres(changed) == pytest.approx(np.full((50, 2), SIDE // 2), abs=0.1)


def test_zoom_changes_the_size_by_no_more_than_that() -> None:
    sizes = np.sqrt(moved(bars(200), zoom=0.3).sum((1, 2, 3)) / 200)
    assert 5 * 0.65 < sizes.min() < 5 * 0.8
    assert 5 * 1.2 < sizes.max() < 5 * 1.35


def test_rotation_is_in_degrees() -> None:
    rows = np.zeros((100, SIDE, SIDE, 1), "float32")
    rows[:, 10, 10:20] = 1.0
    angles = np.degrees(np.arctan2(*(centres(moved(rows, rotation=30)) - 10).T))
    assert 25 < np.abs(angles).max() < 31


def test_network_is_trained_behind_it_and_kept_without_it() -> None:
    layers = keras.layers
    inputs = keras.Input((SIDE, SIDE, 1), dtype="uint8")
    flat = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(flat))
    images = np.concatenate([bars(32), 200 - bars(32)])
    rows = images, np.repeat(np.arange(2, dtype=np.int32), 32)
    result = fit(model, rows, rows, SETTINGS)
    assert result.history["val_accuracy"][-1] == 1.0
    assert [type(layer).__name__ for layer in model.layers][-1] == "Dense"
    assert len(model.get_config()["layers"]) == 4


def test_xla_is_kept_from_what_it_has_no_kernel_for() -> None:
    flat = keras.layers.Flatten()
    model = augmented(keras.Sequential([keras.Input((SIDE, SIDE, 1)), flat]), SETTINGS)
    model.compile("adam", "mse", jit_compile="auto")
    assert model.jit_compile == (keras.config.backend() != "tensorflow")
