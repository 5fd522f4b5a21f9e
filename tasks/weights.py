"""The weights of stored models as named arrays: their digest, and by how much two differ."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.models.archive import open_network

Weights = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class WeightDifference:
    """By how much the weights of two models differ.

    Args:
        identical: Whether every array is the same, bit for bit.
        largest: Largest absolute difference; None where they have other arrays, or other shapes.
        name: The array that has it; empty where all are the same.
    """

    identical: bool
    largest: float | None
    name: str


def weights_of(path: Path) -> Weights:
    """The weights of a stored model, in its own order.

    Args:
        path: A `.keras` file, or the `.onnx` file of another estimator, of whose trees the numbers
            are attributes.
    """
    if path.suffix == ".onnx":
        return _numbers_of(path)
    network = open_network(path)
    return {
        f"{place} {weight.path}": np.asarray(weight) for place, weight in enumerate(network.weights)
    }


def weights_digest(weights: Weights) -> str:
    """sha256, hexadecimal, of kinds, shapes and bytes of arrays in their order.

    Names do not count, and neither does the file: when it was written is no part of a model.
    """
    digest = hashlib.sha256()
    for array in weights.values():
        digest.update(f"{array.dtype.str}{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def weight_difference(found: Weights, expected: Weights) -> WeightDifference:
    """Compares two models array by array, in their order.

    Args:
        found: Of the one.
        expected: Of the other, whose names are told.
    """
    pairs = list(zip(found.values(), expected.items(), strict=False))
    is_comparable = len(found) == len(expected) and all(
        array.shape == other.shape and array.dtype == other.dtype for array, (_, other) in pairs
    )
    if not is_comparable:
        return WeightDifference(identical=False, largest=None, name="")
    # bits, as a NaN is not equal to itself
    if weights_digest(found) == weights_digest(expected):
        return WeightDifference(identical=True, largest=0.0, name="")
    differences = {name: _largest(array, other) for array, (name, other) in pairs}
    name = max(differences, key=lambda each: differences[each])
    return WeightDifference(
        identical=False, largest=differences[name], name=name.partition(" ")[2] or name
    )


def _largest(array: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Largest absolute difference; infinite where one is not a number and the other is."""
    if array.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(array, other) else float("inf")
    one, two = array.astype(np.float64), other.astype(np.float64)
    gaps = np.where(np.isnan(one) & np.isnan(two), 0.0, np.abs(one - two))
    return float(np.nan_to_num(gaps, nan=np.inf).max(initial=0.0))


def _numbers_of(path: Path) -> Weights:
    import onnx
    from onnx import AttributeProto, numpy_helper

    graph = onnx.load(path).graph
    found = {
        f"{place} {tensor.name}": numpy_helper.to_array(tensor)
        for place, tensor in enumerate(graph.initializer)
    }
    for place, node in enumerate(graph.node):
        for attribute in node.attribute:
            name = f"{place} {node.op_type}/{attribute.name}"
            if attribute.type == AttributeProto.TENSOR:
                found[name] = numpy_helper.to_array(attribute.t)
            elif attribute.type == AttributeProto.FLOATS:
                found[name] = np.array(attribute.floats, np.float32)
            elif attribute.type == AttributeProto.INTS:
                found[name] = np.array(attribute.ints, np.int64)
    return found
