"""Plain models on the network's own inputs: training arrays in, predictions out."""

import logging
import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

# a plain model learns little from more rows than this, and must not take longer than the network
ROWS_AT_MOST = 10_000
ITERATIONS = 100
logger = logging.getLogger(__name__)


def baseline_predictions(
    kind: Literal["linear", "boosting"],
    train_inputs: NDArray[Any],
    train_labels: NDArray[Any],
    test_inputs: NDArray[Any],
    classes: int,
    pixel_maximum: int | None = None,
    codes: tuple[int, ...] = (),
) -> dict[str, NDArray[np.float64]]:
    """Fits the baselines on training rows and predicts the test rows.

    Args:
        kind: The plain model beside the majority class or the mean.
        train_inputs: [rows, ...]; each row is flattened.
        train_labels: Class indices [rows], or targets [rows].
        test_inputs: [rows, ...].
        classes: Number of classes; 0 for regression.
        pixel_maximum: Largest pixel value, by which images are divided.
        codes: Sizes of the coded categories in the last columns, each of which becomes an input per
            code: a plain model would take codes for an order.

    Returns:
        Per baseline, probabilities [rows, classes] or values [rows]. The plain model is fitted on
        10,000 rows at most, evenly spaced; its name then says so, as in `linear_10000_rows`.
    """
    name, chosen = thinned(kind, len(train_labels))
    labels = np.asarray(train_labels[chosen])
    inputs = _flattened(train_inputs[chosen], pixel_maximum, codes)
    estimator = _fit(_estimator(kind, classes, is_image=pixel_maximum is not None), inputs, labels)
    flat = _flattened(test_inputs, pixel_maximum, codes)
    return predictions_of(estimator, name, flat, train_labels, classes)


def thinned(kind: str, rows: int) -> tuple[str, slice]:
    """What a plain model is called, and the rows it learns from: 10,000 at most, evenly spaced."""
    step = max(1, -(-rows // ROWS_AT_MOST))
    learnt = -(-rows // step)
    if step > 1:
        logger.info("The %s baseline learns from %d of %d rows", kind, learnt, rows)
    return kind if step == 1 else f"{kind}_{learnt}_rows", slice(None, None, step)


def predictions_of(
    estimator: "BaseEstimator",
    name: str,
    test_inputs: Any,
    train_labels: NDArray[Any],
    classes: int,
) -> dict[str, NDArray[np.float64]]:
    """Those of the majority class or the mean, and those of a fitted plain model.

    Args:
        estimator: The plain model.
        name: Its name.
        test_inputs: [rows, ...], as it takes them.
        train_labels: Class indices [rows], or targets [rows], of all training rows.
        classes: Number of classes; 0 for regression.
    """
    simplest: NDArray[np.float64]
    if not classes:
        simplest = np.full(len(test_inputs), np.mean(train_labels, dtype=np.float64))
        return {"mean": simplest, name: np.asarray(estimator.predict(test_inputs), np.float64)}
    # the shares of the labels are the best that can be said without looking at a feature
    shares = np.bincount(train_labels, minlength=classes) / len(train_labels)
    simplest = np.tile(shares, (len(test_inputs), 1))
    probabilities = np.zeros((len(test_inputs), classes))
    probabilities[:, estimator.classes_] = estimator.predict_proba(test_inputs)
    return {"majority": simplest, name: probabilities}


def _fit(
    estimator: "BaseEstimator", inputs: NDArray[np.float32], labels: NDArray[Any]
) -> "BaseEstimator":
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # stopping short of convergence is good enough for a bar to beat
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(inputs, labels)


def _estimator(
    kind: Literal["linear", "boosting"], classes: int, *, is_image: bool
) -> "BaseEstimator":
    if kind == "boosting":
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        boosting = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        return boosting(max_iter=ITERATIONS, random_state=0)
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    linear = LogisticRegression(max_iter=ITERATIONS, tol=1e-3) if classes else Ridge()
    # pixels share one scale already
    return linear if is_image else make_pipeline(StandardScaler(), linear)


def _flattened(
    inputs: NDArray[Any], pixel_maximum: int | None, codes: tuple[int, ...]
) -> NDArray[np.float32]:
    flat = np.asarray(inputs, dtype=np.float32).reshape(len(inputs), -1)
    if codes:
        first = flat.shape[1] - len(codes)
        hot = [flat[:, [first + n]] == np.arange(size) for n, size in enumerate(codes)]
        flat = np.concatenate([flat[:, :first], *hot], axis=1, dtype=np.float32)
    return flat / np.float32(pixel_maximum) if pixel_maximum else flat
