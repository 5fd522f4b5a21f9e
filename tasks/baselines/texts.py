"""Plain models of texts, on how often words come (TF-IDF): raw texts in, predictions out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tasks.baselines.arrays import ITERATIONS, predictions_of, thinned
from tasks.handoffs import PreparedData
from tasks.snapshots import texts_of
from tasks.storage import Storage

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

# a word, or a run of other characters such as emoji
TOKEN = r"\w+|[^\w\s]+"
# trees look at every column, those without a word in nearly all rows too
BOOSTED_WORDS = 1_000


def text_baselines(
    kind: Literal["linear", "boosting"], prepared: PreparedData, storage: Storage
) -> dict[str, NDArray[np.float64]]:
    """Fits the baselines on the training texts and predicts the test texts.

    Args:
        kind: The plain model beside the majority class or the mean.
        prepared: The rows; one of their features is the text.
        storage: Where they are.
    """
    train, test = (
        texts_of(storage, prepared.snapshot, storage.array(side.rows))
        for side in (prepared.train, prepared.test)
    )
    labels = storage.array(prepared.train.labels)
    return text_predictions(kind, train, labels, test, len(prepared.classes))


def text_predictions(
    kind: Literal["linear", "boosting"],
    train_texts: Sequence[str],
    train_labels: NDArray[Any],
    test_texts: Sequence[str],
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
    name, chosen = thinned(kind, len(train_labels))
    estimator = _estimator(kind, classes).fit(train_texts[chosen], train_labels[chosen])
    return predictions_of(estimator, name, test_texts, train_labels, classes)


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
