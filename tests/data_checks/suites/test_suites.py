import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from data_checks.checks import Strictness
from data_checks.profile import image_statistics
from data_checks.report import CheckReport
from data_checks.runner import run_checks
from data_checks.suites import SUITES, get_suite
from tasks.datasets import DATASETS

Change = Callable[[np.ndarray], np.ndarray]


def test_every_dataset_has_a_suite() -> None:
    assert set(SUITES) == set(DATASETS)


@pytest.mark.parametrize("name", SUITES)
def test_names_are_unique_and_every_column_of_the_dataset_is_checked(name: str) -> None:
    checks = get_suite(name)(Strictness())
    names = [check.name for check in checks]
    assert len(set(names)) == len(names)
    plain = {column.name for column in DATASETS[name].columns if column.kind != "image"}
    assert plain <= {column for check in checks[1:] for column in check.columns}


@pytest.mark.parametrize(
    "name",
    [n for n in SUITES if DATASETS[n].problem == "classification" and DATASETS[n].classes],
)
def test_labels_are_those_of_the_dataset(name: str) -> None:
    checks = {check.name: check for check in get_suite(name)(Strictness())}
    labels = checks[f"labels/{DATASETS[name].label.name}"]
    assert sorted(labels.expectation.value_set) == sorted(DATASETS[name].classes)


def check_digits(change: Change = np.asarray) -> CheckReport:
    data = load_digits()
    frame = image_statistics(change(data.images.astype(np.uint8)[..., None]))
    frame["digit"] = pd.Series(data.target.astype(str), dtype="str")
    return run_checks(frame, "digits")[0]


def test_digits_pass() -> None:
    assert check_digits().failures == ()


def one_outlier(images: np.ndarray) -> np.ndarray:
    changed = images.copy()
    changed[4, 3, 3] = 99
    return changed


def some_blank(images: np.ndarray) -> np.ndarray:
    changed = images.copy()
    changed[:50] = 0
    return changed


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (one_outlier, {"range/image_maximum"}),
        (some_blank, {"range/image_mean", "blank/image", "copies/image"}),
        (lambda images: images // 16, {"span/image", "copies/image"}),
        (lambda images: np.full_like(images, 16), {"range/image_mean", "blank/image"}),
        (lambda images: np.resize(images[:900], images.shape), {"copies/image"}),
    ],
)
def test_images_that_are_not_digits_are_noticed(change: Change, failed: set[str]) -> None:
    assert failed <= {failure.check for failure in check_digits(change).failures}


def test_a_pixel_out_of_range_stops_and_says_which_image() -> None:
    (failure,) = check_digits(one_outlier).errors
    assert failure.sentence == (
        "image_maximum: expected pixels from 0 to 16; 1 of 1,797 rows (under 0.1 %) do not fit, "
        "such as row 5 (99)."
    )


def test_breast_cancer_passes() -> None:
    data = load_breast_cancer(as_frame=True)
    names = pd.Series(data.target_names[data.target], dtype="str")
    report, _ = run_checks(data.data.assign(diagnosis=names), "breast_cancer")
    assert report.failures == ()


def test_the_whole_of_telco_passes(real_data: Callable[[str], Path]) -> None:
    path = real_data("telco-churn") / "Telco-Customer-Churn.csv.gz"
    frame = pd.read_csv(path, na_values=[" "], dtype={"SeniorCitizen": "str"})
    assert run_checks(frame, "telco_churn")[0].failures == ()


def test_the_test_part_of_mnist_passes(real_data: Callable[[str], Path]) -> None:
    folder = real_data("mnist")
    pixels = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    frame = image_statistics(np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28, 1))
    frame["digit"] = pd.Series(np.frombuffer(labels, np.uint8)).astype("str")
    frame["part"] = pd.Series(["test"] * len(frame), dtype="str")
    assert run_checks(frame, "mnist")[0].failures == ()


def test_the_corners_of_xor_pass(tmp_path: Path) -> None:
    from tasks.datasets.xor import make

    make(tmp_path / "xor.csv")
    assert run_checks(pd.read_csv(tmp_path / "xor.csv"), "xor")[0].failures == ()


@pytest.fixture
def rentals() -> pd.DataFrame:
    """Four weeks of hours, with as many rentals as suits the hour."""
    from data_checks.suites.bike_sharing import CATEGORIES, RANGES

    rows = 672
    numbers = np.arange(rows)
    frame = pd.DataFrame({"time": pd.date_range("2026-01-01", periods=rows, freq="h")})
    frame["instant"] = numbers
    for name, values in CATEGORIES.items():
        frame[name] = pd.Series([values[n % len(values)] for n in numbers], dtype="str")
    for name in RANGES:
        frame[name] = 0.5
    frame["casual"], frame["registered"] = numbers % 24, numbers % 5
    return frame.assign(cnt=frame["casual"] + frame["registered"])


def test_four_weeks_of_rentals_pass(rentals: pd.DataFrame) -> None:
    assert run_checks(rentals, "bike_sharing")[0].failures == ()


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"cnt": 3}, {"agreement/cnt"}),
        ({"cnt": -1}, {"range/cnt", "agreement/cnt"}),
        ({"hum": 40.0}, {"range/hum"}),
        ({"hr": "24"}, {"categories/hr"}),
        ({"time": pd.Timestamp("2026-01-01")}, {"unique/time"}),
        ({"temp": np.nan}, {"missing/temp"}),
    ],
)
def test_rentals_that_cannot_be_are_noticed(
    rentals: pd.DataFrame, change: dict[str, object], failed: set[str]
) -> None:
    report, _ = run_checks(rentals.assign(**change), "bike_sharing")
    assert failed <= {failure.check for failure in report.failures}


def test_the_whole_of_the_rentals_passes(real_data: Callable[[str], Path]) -> None:
    from tasks.datasets.bike_sharing import DATASET, FILE

    table = DATASET.read({FILE: real_data("bike-sharing") / f"{FILE}.gz"})
    assert run_checks(table.to_pandas(), "bike_sharing")[0].failures == ()
