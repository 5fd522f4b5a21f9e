"""Plain models of texts, on how often words come (TF-IDF): raw texts in, predictions out."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tasks.baselines.arrays import ITERATIONS, ROWS_AT_MOST
from tasks.handoffs import Arrays, PreparedData
from tasks.snapshots import read_snapshot
from tasks.storage import Storage

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

# a word, or a run of other characters such as emoji
TOKEN = r"\w+|[^\w\s]+"
# trees look at every column, those without a word in nearly all rows too
BOOSTED_WORDS = 1_000
logger = logging.getLogger(__name__)


def text_baselines(
    kind: Literal["linear", "boosting"], prepared: PreparedData, storage: Storage
) -> dict[str, NDArray[np.float64]]:
    """Fits the baselines on the training texts and predicts the test texts.

    Args:
        kind: The plain model beside the majority class or the mean.
        prepared: The rows; one of their features is the text.
        storage: Where they are.
    """
    (column,) = prepared.snapshot.features
    table = read_snapshot(storage, prepared.snapshot, [column.name])
    texts = np.array([text or "" for text in table[column.name].to_pylist()], dtype=object)

    def opened(side: Arrays) -> tuple[NDArray[Any], NDArray[Any]]:
        rows, labels = (storage.array(file) for file in (side.rows, side.labels))
        return texts[rows], labels

    train, labels = opened(prepared.train)
    return text_predictions(kind, train, labels, opened(prepared.test)[0], len(prepared.classes))


def text_predictions(
    kind: Literal["linear", "boosting"],
    train_texts: Sequence[str] | NDArray[Any],
    train_labels: NDArray[Any],
    test_texts: Sequence[str] | NDArray[Any],
    classes: int,
) -> dict[str, NDArray[np.float64]]:
    """The majority class or the mean, and a plain model on the TF-IDF of words and of word pairs.

    Args:
        kind: Logistic or ridge regression, or gradient boosting on the most frequent words.
        train_texts: [rows].
        train_labels: Class indices [rows], or targets [rows].
        test_texts: [rows].
        classes: Number of classes; 0 for regression.

    Returns:
        As `tasks.baselines.arrays.baseline_predictions`, which see for the number of rows.
    """
    step = max(1, -(-len(train_labels) // ROWS_AT_MOST))
    chosen, labels = train_texts[::step], np.asarray(train_labels[::step])
    name = kind if step == 1 else f"{kind}_{len(labels)}_rows"
    simplest: NDArray[np.float64]
    if not classes:
        simplest = np.full(len(test_texts), np.mean(train_labels, dtype=np.float64))
        plain = _estimator(kind, classes).fit(chosen, labels).predict(test_texts)
        return {"mean": simplest, name: np.asarray(plain, dtype=np.float64)}
    shares = np.bincount(train_labels, minlength=classes) / len(train_labels)
    simplest = np.tile(shares, (len(test_texts), 1))
    estimator = _estimator(kind, classes).fit(chosen, labels)
    probabilities = np.zeros((len(test_texts), classes))
    probabilities[:, estimator.classes_] = estimator.predict_proba(test_texts)
    return {"majority": simplest, name: probabilities}


def _estimator(kind: Literal["linear", "boosting"], classes: int) -> "BaseEstimator":
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    # an empty text is one token too, so that there is a vocabulary whatever the texts
    if kind == "linear":
        words = TfidfVectorizer(
            token_pattern=TOKEN, ngram_range=(1, 2), sublinear_tf=True, preprocessor=_present
        )
        linear = LogisticRegression(C=10, max_iter=ITERATIONS) if classes else Ridge()
        return make_pipeline(words, linear)
    words = TfidfVectorizer(token_pattern=TOKEN, max_features=BOOSTED_WORDS, preprocessor=_present)
    boosting = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    dense = FunctionTransformer(_dense, accept_sparse=True)
    return make_pipeline(words, dense, boosting(max_iter=ITERATIONS, random_state=0))


def _present(text: str) -> str:
    return text.lower() if text.strip() else "_"


def _dense(counts: Any) -> NDArray[np.float64]:
    dense: NDArray[np.float64] = counts.toarray()
    return dense
