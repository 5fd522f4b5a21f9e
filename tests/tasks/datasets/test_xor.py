import hashlib

import numpy as np

from tasks.datasets.xor import DATASET, FILE, make


def test_the_same_bytes_are_made_each_time(tmp_path):
    for name in ("first", "second"):
        make(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == DATASET.files[0].sha256


def test_the_label_says_whether_one_coordinate_alone_is_near_one(tmp_path):
    make(tmp_path / FILE)
    table = DATASET.read({FILE: tmp_path / FILE})
    left, right = (table[name].to_numpy() > 0.5 for name in ("left", "right"))
    assert table["either"].to_pylist() == np.where(left ^ right, "yes", "no").tolist()
    corners = np.unique(2 * left + right, return_counts=True)[1]
    assert corners.tolist() == [500, 500, 500, 500]
