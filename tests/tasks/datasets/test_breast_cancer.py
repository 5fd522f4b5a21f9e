import numpy as np
import pytest

from tasks.datasets.breast_cancer import DATASET, FILE, MEASURES
from tasks.errors import SourceError


def test_the_bundled_measures_are_those_of_scikit_learn():
    from sklearn.datasets import load_breast_cancer

    table = DATASET.read({FILE: DATASET.bundled_folder / FILE})
    theirs = load_breast_cancer()
    ours = np.stack([table[name].to_numpy() for name in MEASURES], axis=1)
    assert list(MEASURES) == list(theirs.feature_names)
    assert np.array_equal(ours, theirs.data)
    assert table["diagnosis"].to_pylist() == list(theirs.target_names[theirs.target])


def test_a_label_that_the_first_line_does_not_name_is_refused(tmp_path):
    path = tmp_path / FILE
    path.write_text("1,30,malignant,benign\n" + "1.0," * 30 + "7\n")
    with pytest.raises(SourceError, match=r"labels a row '7'.*0 \(malignant\), 1 \(benign\)"):
        DATASET.read({FILE: path})
