"""Trees as ONNX: what scikit-learn's histogram-based gradient boosting has learnt, in one file.

ONNX loads without pickle and without scikit-learn. The trees become one TreeEnsembleRegressor
(https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html), followed by the link of
the loss. skl2onnx 1.20 cannot write these nodes with today's protobuf, and rounds thresholds to the
nearest float32, which sends rows that lie right at one down the other branch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

# understood by onnxruntime since 1.17, of early 2024
OPSET, TREES_OPSET, IR_VERSION = 17, 3, 8
TREES_DOMAIN = "ai.onnx.ml"
INPUTS, SCORES, OUTPUTS = "columns", "scores", "predictions"
BINARY = 2


@dataclass(frozen=True)
class Ensemble:
    """The trees of a fitted gradient boosting.

    Args:
        rounds: Per round, one tree for each score: its nodes as scikit-learn holds them.
        baseline: Where the scores start, float64 [scores].
        classes: Number of classes; 0 for values.
        width: Number of inputs.
    """

    rounds: tuple[tuple[NDArray[Any], ...], ...]
    baseline: NDArray[np.float64]
    classes: int
    width: int

    @property
    def trees(self) -> list[NDArray[Any]]:
        """All trees, round by round."""
        return [nodes for trees in self.rounds for nodes in trees]

    @property
    def nodes(self) -> int:
        """Number of branches and leaves."""
        return sum(len(nodes) for nodes in self.trees)


def ensemble_of(estimator: Any, rounds: int, classes: int) -> Ensemble:
    """The first rounds of a fitted estimator.

    Args:
        estimator: scikit-learn's HistGradientBoostingClassifier or ...Regressor, fitted on float32
            and without categorical features.
        rounds: How many to keep.
        classes: Number of classes; 0 for values.
    """
    # not public, as scikit-learn has no other way to its trees; skl2onnx reads the same
    kept = estimator._predictors[:rounds]
    return Ensemble(
        rounds=tuple(tuple(tree.nodes for tree in trees) for trees in kept),
        baseline=np.asarray(estimator._baseline_prediction, np.float64).reshape(-1),
        classes=classes,
        width=int(estimator.n_features_in_),
    )


def as_onnx(ensemble: Ensemble) -> bytes:
    """The trees as an ONNX file; the same trees give the same bytes.

    It takes float32 [rows, width] and gives float32 probabilities [rows, classes] or values
    [rows, 1].
    """
    from onnx import TensorProto, checker, helper

    outputs = ensemble.classes or 1
    graph = helper.make_graph(
        [_trees_node(ensemble), *_link_nodes(ensemble)],
        "boosting",
        [helper.make_tensor_value_info(INPUTS, TensorProto.FLOAT, [None, ensemble.width])],
        [helper.make_tensor_value_info(OUTPUTS, TensorProto.FLOAT, [None, outputs])],
        [helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])] * _is_binary(ensemble),
    )
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(TREES_DOMAIN, TREES_OPSET)]
    model = helper.make_model(
        graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="roundhouse"
    )
    checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def summary_of_trees(ensemble: Ensemble) -> str:
    """Trees, leaves and depth, as text."""
    trees = ensemble.trees
    leaves = [int(np.sum(nodes["is_leaf"])) for nodes in trees]
    depths = [int(nodes["depth"].max()) for nodes in trees]
    lines = [f"{'':<20}{'in all':>12}{'fewest':>12}{'most':>12}"]
    for name, counts in (("leaves", leaves), ("depth", depths)):
        total = f"{sum(counts):,}" if name == "leaves" else ""
        lines.append(f"{name:<20}{total:>12}{min(counts):>12,}{max(counts):>12,}")
    heads = [f"{'rounds':<20}{len(ensemble.rounds):>12,}", f"{'trees':<20}{len(trees):>12,}"]
    return "\n".join([*heads, f"{'nodes':<20}{ensemble.nodes:>12,}", "", *lines])


def _trees_node(ensemble: Ensemble) -> "onnx.NodeProto":
    from onnx import helper

    trees, scores = ensemble.trees, len(ensemble.baseline)
    joined = np.concatenate(trees)
    numbers = np.concatenate([np.arange(len(nodes)) for nodes in trees])
    tree_ids = np.repeat(np.arange(len(trees)), [len(nodes) for nodes in trees])
    is_leaf = joined["is_leaf"].astype(bool)
    branch = np.where(is_leaf, 0, 1)
    return helper.make_node(
        "TreeEnsembleRegressor",
        [INPUTS],
        [SCORES],
        domain=TREES_DOMAIN,
        n_targets=scores,
        base_values=_floats(ensemble.baseline),
        nodes_treeids=_whole(tree_ids),
        nodes_nodeids=_whole(numbers),
        nodes_modes=["LEAF" if leaf else "BRANCH_LEQ" for leaf in is_leaf],
        nodes_featureids=_whole(joined["feature_idx"] * branch),
        nodes_values=_floats(rounded_down(np.where(is_leaf, 0.0, joined["num_threshold"]))),
        nodes_truenodeids=_whole(joined["left"] * branch),
        nodes_falsenodeids=_whole(joined["right"] * branch),
        nodes_missing_value_tracks_true=_whole(joined["missing_go_to_left"] * branch),
        target_treeids=_whole(tree_ids[is_leaf]),
        target_nodeids=_whole(numbers[is_leaf]),
        target_ids=_whole(tree_ids[is_leaf] % scores),
        target_weights=_floats(joined["value"][is_leaf]),
    )


def rounded_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above each threshold.

    A float32 is at most a threshold just where it is at most this, so every row goes the same way.
    """
    nearest = thresholds.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest.astype(np.float64) > thresholds, below, nearest)


def _link_nodes(ensemble: Ensemble) -> "list[onnx.NodeProto]":
    """From scores to predictions: as they are for values, else logistic or softmax."""
    from onnx import helper

    if not ensemble.classes:
        return [helper.make_node("Identity", [SCORES], [OUTPUTS])]
    if not _is_binary(ensemble):
        return [helper.make_node("Softmax", [SCORES], [OUTPUTS], axis=1)]
    return [
        helper.make_node("Sigmoid", [SCORES], ["second"]),
        helper.make_node("Sub", ["one", "second"], ["first"]),
        helper.make_node("Concat", ["first", "second"], [OUTPUTS], axis=1),
    ]


def _is_binary(ensemble: Ensemble) -> bool:
    return ensemble.classes == BINARY and len(ensemble.baseline) == 1


def _whole(values: NDArray[Any]) -> Sequence[int]:
    return [int(value) for value in values]


def _floats(values: NDArray[Any]) -> Sequence[float]:
    return [float(value) for value in np.asarray(values, np.float32)]
