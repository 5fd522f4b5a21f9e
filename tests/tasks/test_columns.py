import traceback

import pyarrow as pa
import pytest

from tasks.columns import typed
from tasks.errors import SourceError
from tasks.handoffs import Column
from tasks.snapshots import images

IMAGE = Column(name="image", role="feature", kind="image", shape=(2, 3, 1), maximum=9)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([[1] * 6, None], "'image' of .* has blanks among its images"),
        ([[1] * 6, [1, 2]], r"in row 2; expected images of \(2, 3, 1\) pixels"),
        ([[1] * 6, [300] * 6], "expected images"),
        ([1, 2], "of the type int64|in row 1; expected images"),
    ],
)
def test_lists_that_are_no_images_are_refused(tmp_path, values, sentence):
    with pytest.raises(SourceError, match=sentence):
        typed(pa.table({"image": values}), (IMAGE,), tmp_path)


def test_lists_of_numbers_become_images(tmp_path):
    table = typed(pa.table({"image": [[1, 2, 3, 4, 5, 6]]}), (IMAGE,), tmp_path)
    assert images(table, IMAGE).reshape(-1).tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("kind", "integer"), [("numeric", False), ("numeric", True), ("time", False)]
)
def test_a_personal_value_is_not_in_the_log_either(tmp_path, kind, integer):
    column = Column(name="age", role="feature", kind=kind, integer=integer, personal=True)
    table = pa.table({"age": [None, "7.5 years"]})
    with pytest.raises(SourceError, match="with a value in row 2") as raised:
        typed(table, (column,), tmp_path)
    assert "7.5" not in "".join(traceback.format_exception(raised.value))
