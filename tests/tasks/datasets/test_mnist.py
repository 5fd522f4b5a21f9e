import gzip

import pytest

from tasks.datasets.mnist import DATASET, IMAGE
from tasks.errors import SourceError
from tasks.snapshots import images


def files_in(folder):
    return {file.name: folder / f"{file.name}.gz" for file in DATASET.files}


def test_both_parts_are_read_in_order(mnist_folder):
    table = DATASET.read(files_in(mnist_folder))
    assert images(table, IMAGE).shape == (260, 28, 28, 1)
    assert table["digit"].to_pylist()[198:202] == ["8", "9", "0", "1"]
    assert table["part"].to_pylist() == ["train"] * 200 + ["test"] * 60


def test_more_images_than_labels_are_refused(mnist_folder):
    content = bytes((0, 0, 8, 1)) + (3).to_bytes(4, "big") + bytes(3)
    (mnist_folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))
    with pytest.raises(SourceError, match=r"60 images and .* 3 labels; expected as many of each"):
        DATASET.read(files_in(mnist_folder))
