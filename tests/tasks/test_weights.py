from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from tasks.weights import weight_difference, weights_digest, weights_of

ONE = {"0 kernel": np.array([[1.0, 2.0]], np.float32), "1 bias": np.zeros(2, np.float32)}


def changed(**arrays):
    return ONE | {name.replace("_", " ", 1): array for name, array in arrays.items()}


def test_the_same_weights_are_identical_whatever_they_are_called():
    other = {"0 another/kernel": ONE["0 kernel"].copy(), "1 another/bias": ONE["1 bias"].copy()}
    assert weight_difference(other, ONE).identical
    assert weights_digest(other) == weights_digest(ONE)


def test_the_largest_difference_is_told_with_its_array():
    bias = np.array([0.0, -0.5], np.float32)
    found = weight_difference({**ONE, "1 bias": bias}, ONE)
    assert (found.identical, found.largest, found.name) == (False, 0.5, "bias")


def test_one_bit_is_a_difference():
    kernel = np.nextafter(ONE["0 kernel"], np.float32(9))
    found = weight_difference({**ONE, "0 kernel": kernel}, ONE)
    assert not found.identical
    assert 0 < found.largest < 1e-6


def test_what_is_not_a_number_equals_itself_alone():
    blank = {**ONE, "1 bias": np.array([0, np.nan], np.float32)}
    assert weight_difference(blank, blank).identical
    assert weight_difference(blank, ONE).largest == np.inf


@pytest.mark.parametrize(
    "other",
    [
        {"0 kernel": ONE["0 kernel"]},
        {**ONE, "1 bias": np.zeros(3, np.float32)},
        {**ONE, "1 bias": np.zeros(2, np.float64)},
    ],
)
def test_other_arrays_have_no_difference_to_tell(other):
    found = weight_difference(other, ONE)
    assert (found.identical, found.largest) == (False, None)
    assert weights_digest(other) != weights_digest(ONE)


def test_the_numbers_of_trees_are_read_from_their_attributes(tmp_path: Path):
    def store(value):
        node = helper.make_node(
            "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml",
            nodes_values=[0.5, value], nodes_treeids=[0, 0], nodes_modes=["BRANCH_LEQ", "LEAF"],
        )  # fmt: skip
        bias = helper.make_tensor("bias", onnx.TensorProto.FLOAT, [1], [3.0])
        graph = helper.make_graph([node], "trees", [], [], initializer=[bias])
        onnx.save(helper.make_model(graph), tmp_path / "trees.onnx")
        return weights_of(tmp_path / "trees.onnx")

    first, second = store(1.0), store(1.5)
    assert weight_difference(first, first).identical
    found = weight_difference(second, first)
    assert (found.largest, found.name) == (0.5, "TreeEnsembleRegressor/nodes_values")
    assert any(array.tolist() == [3.0] for array in first.values())
