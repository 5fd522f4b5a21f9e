import numpy as np
import pandas as pd

from data_checks.profile import CHUNK_ROWS, image_statistics, label_shares


def test_statistics_are_those_of_numpy() -> None:
    images = np.random.default_rng(0).integers(0, 256, (CHUNK_ROWS + 5, 3, 4, 2), np.uint8)
    frame = image_statistics(images, "scan")
    np.testing.assert_allclose(frame["scan_mean"], images.mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(frame["scan_std"], images.std(axis=(1, 2, 3)), atol=1e-9)
    assert (frame["scan_minimum"] == images.min(axis=(1, 2, 3))).all()
    assert (frame["scan_maximum"] == images.max(axis=(1, 2, 3))).all()
    assert (frame["scan_copies"] == 0).all()


def test_one_shade_has_no_deviation_at_all() -> None:
    images = np.full((2, 28, 28, 1), 7, np.uint8)
    assert image_statistics(images)["image_std"].tolist() == [0, 0]


def test_copies_are_counted_from_the_second_on() -> None:
    images = np.array([1, 2, 1, 1], np.uint8).reshape(4, 1, 1, 1)
    assert image_statistics(images)["image_copies"].tolist() == [0, 0, 1, 2]


def test_no_images_give_no_rows() -> None:
    assert len(image_statistics(np.zeros((0, 8, 8, 1), np.uint8))) == 0


def test_large_bright_images_do_not_overflow() -> None:
    images = np.full((1, 512, 512, 3), 255, np.uint8)
    assert image_statistics(images).loc[0, ["image_mean", "image_std"]].tolist() == [255, 0]


def test_label_shares_are_of_all_rows_that_have_one() -> None:
    labels = pd.Series(["a", "b", "a", None, "a"], dtype="str")
    np.testing.assert_allclose(label_shares(labels), [0.75, 0.25, 0.75, np.nan, 0.75])
