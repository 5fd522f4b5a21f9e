import numpy as np
import pytest

from tasks.datasets.digits import DATASET, FILE, IMAGE
from tasks.errors import SourceError
from tasks.snapshots import images


def test_the_bundled_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    table = DATASET.read({FILE: DATASET.bundled_folder / f"{FILE}.gz"})
    theirs = load_digits()
    assert np.array_equal(images(table, IMAGE)[..., 0], theirs.images)
    assert table["digit"].to_pylist() == [str(digit) for digit in theirs.target]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("300," * 64 + "1\n", "holds pixels from 300 to 300; expected 0 to 16"),
        ("1," * 64 + "1\n" + "1,2\n", "not a table of whole numbers"),
        ("1.5," * 64 + "1\n", "not a table of whole numbers"),
        ("1,2,3\n", "has 3 values in a row; expected 65"),
        ("\n\n", "has no rows"),
    ],
)
def test_damaged_digits_are_one_sentence(tmp_path, content, sentence):
    path = tmp_path / FILE
    path.write_text(content)
    with pytest.raises(SourceError, match=sentence):
        DATASET.read({FILE: path})
