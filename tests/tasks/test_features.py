import ast
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks import features


@pytest.fixture
def frame():
    return pd.DataFrame({
        "size": [1.0, 2.0, 3.0, None, 10.0, 2.0],
        "count": [1, 2, 3, 4, 5, 6],
        "same": [7.0] * 6,
        "blank": [None] * 6,
        "color": ["red", "red", "blue", "blue", "rare", None],
        "flag": ["0", "1", "0", "1", "0", "1"],
    })  # fmt: skip


@pytest.fixture
def fitted(frame):
    return features.fit(
        frame, ["size", "count", "same", "blank"], ["color", "flag"], minimum_category_rows=2
    )


def changed(frame, **columns):
    return frame.assign(**columns)


def input_names(fitted):
    """A name for each input of `transform`, in order."""
    names = []
    for entry in fitted["numeric"]:
        names += [entry["name"], f"{entry['name']} is blank"][: 1 + entry["indicator"]]
    for entry in fitted["category"]:
        names += [f"{entry['name']} unknown"]
        names += [f"{entry['name']}={value}" for value in entry["vocabulary"]]
    return names


def input_of(inputs, fitted, name):
    return inputs[:, input_names(fitted).index(name)].tolist()


def test_each_input_has_its_name_and_place(frame, fitted):
    assert input_names(fitted) == [
        "size", "size is blank", "count", "same", "blank",
        "color unknown", "color=blue", "color=red", "flag unknown", "flag=0", "flag=1",
    ]  # fmt: skip
    inputs = features.transform(frame, fitted)
    assert inputs.dtype == np.float32
    assert inputs.shape == (6, 11)
    assert fitted["width"] == 11


def test_numbers_have_zero_mean_and_unit_variance(frame, fitted):
    counts = np.array(input_of(features.transform(frame, fitted), fitted, "count"))
    assert abs(counts.mean()) < 1e-6
    assert abs(counts.std() - 1) < 1e-6


@pytest.mark.parametrize(("imputation", "expected"), [("median", 2.0), ("mean", 3.6)])
def test_a_blank_number_becomes_the_middle_of_the_others(frame, imputation, expected):
    fitted = features.fit(frame, ["size"], [], scaling="none", imputation=imputation)
    inputs = features.transform(frame, fitted)
    assert inputs[3].tolist() == [np.float32(expected), 1.0]
    assert inputs[0].tolist() == [1.0, 0.0]


def test_constant_and_blank_columns_are_zero_whatever_comes(frame, fitted):
    inputs = features.transform(changed(frame, same=99.0, blank=5.0), fitted)
    assert input_of(inputs, fitted, "same") == [0.0] * 6
    assert input_of(inputs, fitted, "blank") == [0.0] * 6


def test_blank_rare_and_unseen_categories_share_the_unknown_bucket(frame, fitted):
    inputs = features.transform(
        changed(frame, color=["red", "new", None, " ", "rare", "blue "]), fitted
    )
    assert input_of(inputs, fitted, "color unknown") == [0, 1, 1, 1, 1, 0]
    assert input_of(inputs, fitted, "color=blue") == [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    "flags",
    [
        pd.Series([0, 1, 0, 1, 0, 1]),
        pd.Series([0.0, 1.0, 0.0, 1.0, 0.0, 1.0]),
        pd.Series([False, True] * 3),
        pd.Series([0, 1] * 3, dtype="Int64"),
        pd.Series(["0", "1"] * 3, dtype="category"),
        pd.Series(["0", "1"] * 3, dtype=object),
    ],
)
def test_a_category_may_come_as_text_or_number(frame, fitted, flags):
    inputs = features.transform(changed(frame, flag=flags), fitted)
    assert input_of(inputs, fitted, "flag=1") == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("blank", [None, float("nan"), pd.NA, pd.NaT, ""])
def test_every_kind_of_blank_is_unknown(frame, fitted, blank):
    flags = pd.Series(["0", blank] * 3, dtype=object)
    inputs = features.transform(changed(frame, flag=flags), fitted)
    assert input_of(inputs, fitted, "flag unknown") == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    "sizes",
    [
        pd.Series([1, 2, 3, pd.NA, 10, 2], dtype="Int64"),
        pd.Series([1.0, 2, 3, np.nan, 10, 2], dtype="float32"),
        pd.Series([1, 2, 3, None, 10, 2], dtype=object),
        pd.Series([1, 2, 3, pd.NA, 10, 2], dtype=object),
    ],
)
def test_numbers_may_come_in_any_numeric_type(frame, fitted, sizes):
    inputs = features.transform(changed(frame, size=sizes), fitted)
    assert np.array_equal(inputs, features.transform(frame, fitted))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["1"] * 6, "'size' has the type str; expected numbers"),
        ([1.0] * 5 + [np.inf], "'size' has infinite numbers"),
        ([1.0] * 5 + [1e300], "'size' has numbers too large"),
        (pd.Series([1, 2, 3, 4, 5, "6"], dtype=object), "'size' has the type object"),
        (pd.Series([1, 2, 3, 4, 5, []], dtype=object), "'size' has the type object"),
        (pd.date_range("2026-01-01", periods=6), "'size' has the type datetime64"),
    ],
)
def test_what_is_no_number_is_refused(frame, fitted, values, sentence):
    with pytest.raises(ValueError, match=sentence):
        features.transform(changed(frame, size=values), fitted)


def test_numbers_too_large_to_scale_are_refused(frame):
    with pytest.raises(ValueError, match="'size' are too large to be scaled"):
        features.fit(changed(frame, size=[1e200, -1e200] * 3), ["size"], [])


def test_a_missing_column_is_named_and_an_extra_one_ignored(frame, fitted):
    with pytest.raises(ValueError, match="'count' is missing; found size, same"):
        features.transform(frame.drop(columns="count"), fitted)
    more = changed(frame, customerID="x")
    assert np.array_equal(features.transform(more, fitted), features.transform(frame, fitted))


def test_no_rows_give_no_inputs(frame, fitted):
    assert features.transform(frame[:0], fitted).shape == (0, 11)
    assert features.fit(frame[:0], ["size"], ["color"])["width"] == 2


def test_the_frame_is_left_as_it_was(frame, fitted):
    before = frame.copy(deep=True)
    features.transform(frame, fitted)
    pd.testing.assert_frame_equal(frame, before)


def test_what_was_fitted_survives_json(frame, fitted):
    again = json.loads(features.to_json(fitted))
    assert again == fitted
    assert np.array_equal(features.transform(frame, again), features.transform(frame, fitted))


IMAGES = features.fit_images("image", (2, 2, 1), 16)


@pytest.mark.parametrize(
    "images",
    [
        np.full((3, 2, 2, 1), 16, np.uint8),
        np.full((3, 2, 2), 16, np.int64),
        np.full((3, 4), 16.0),
        [[16, 16, 16, 16]] * 3,
        pd.Series([np.full((2, 2), 16)] * 3),
    ],
)
def test_images_come_in_several_shapes(images):
    pixels = features.transform_images(images, IMAGES)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3, 2, 2, 1)
    assert np.all(pixels == 16)


def test_images_of_the_right_type_are_not_copied():
    images = np.zeros((3, 2, 2, 1), np.uint8)
    assert np.shares_memory(features.transform_images(images, IMAGES), images)
    assert features.transform_images(images[:0], IMAGES).shape == (0, 2, 2, 1)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.zeros((3, 3, 2, 1), np.uint8), r"shape \(3, 3, 2, 1\); expected \(rows, 2, 2, 1\)"),
        (np.uint8(3), "have the shape"),
        (np.full((1, 4), 17), "values from 17 to 17; expected whole numbers from 0 to 16"),
        (np.full((1, 4), -1), "values from -1"),
        (np.full((1, 4), np.nan), "values from nan"),
        (np.full((1, 4), 0.5), "hold fractions"),
        ([["a"] * 4], "are not one array of numbers"),
        (pd.Series([np.zeros(4), np.zeros(3)]), "are not one array of numbers"),
        (pd.Series([None, None]), "have the shape|not one array of numbers"),
    ],
)
def test_what_is_no_image_is_refused(images, sentence):
    with pytest.raises(ValueError, match=sentence):
        features.transform_images(images, IMAGES)


def test_the_file_needs_nothing_of_ours():
    """It is copied into every registered model."""
    tree = ast.parse(Path(features.__file__).read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(module.startswith(("tasks", "data_checks")) for module in modules)


@pytest.fixture
def coded(frame):
    return features.fit(
        frame, ["size"], ["color", "flag"], minimum_category_rows=2, categories="codes"
    )


def test_codes_are_the_last_columns_and_their_sizes_are_told(frame, coded):
    inputs = features.transform(frame, coded)
    assert coded["codes"] == [3, 3]
    assert coded["width"] == inputs.shape[1] == 4
    assert inputs.dtype == np.float32
    assert inputs[:, 2].tolist() == [2, 2, 1, 1, 0, 0]
    assert inputs[:, 3].tolist() == [1, 2, 1, 2, 1, 2]


def test_a_category_never_seen_has_the_code_of_the_unknown(frame, coded):
    inputs = features.transform(changed(frame, color=["new"] * 6, flag=[None] * 6), coded)
    assert not inputs[:, 2:].any()


def test_one_hot_tells_of_no_codes(fitted):
    assert "codes" not in fitted
