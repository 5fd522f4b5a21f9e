"""Gradient-boosted trees by scikit-learn, for tables; no network, but an estimator of its own."""

from typing import Any

from tasks.config import ModelConfig
from tasks.errors import ConfigError
from tasks.models.ends import Ends, require_kind

USES = ("leaf_nodes", "leaf_rows", "l2")
# what a server needs in the place of Keras and TensorFlow
LIBRARIES = ("onnxruntime",)


def build(ends: Ends, config: ModelConfig) -> Any:
    """A histogram-based gradient boosting that is not fitted yet.

    Args:
        ends: What goes in and out.
        config: Uses `leaf_nodes`, `leaf_rows` and `l2`.

    Returns:
        scikit-learn's HistGradientBoostingClassifier, or ...Regressor for values.

    Raises:
        ConfigError: The rows are not of a table, their categories are coded, or another version's
            weights are to be started from.
    """
    _check(ends, config)
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if ends.classes else HistGradientBoostingRegressor
    return kind(
        max_leaf_nodes=config.leaf_nodes,
        min_samples_leaf=config.leaf_rows,
        l2_regularization=config.l2,
    )


def _check(ends: Ends, config: ModelConfig) -> None:
    require_kind(ends, "boosting", "table")
    if ends.codes:
        raise ConfigError(
            f"The architecture 'boosting' got {len(ends.codes)} categories as codes; it needs an "
            "input for each category, as it has no embeddings and would take codes for an order. "
            "Use --set preparation.categories=one_hot."
        )
    if config.initial_weights or config.pretrained:
        raise ConfigError(
            "The architecture 'boosting' was given weights to start from, by model.initial_weights "
            "or model.pretrained; trees have none. Leave them out, or choose a network: --set "
            "model.architecture=mlp."
        )
