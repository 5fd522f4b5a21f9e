import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.handoffs import Column
from tasks.served_rows import raw_rows, values_of


@pytest.fixture
def table_file(tmp_path):
    table = pa.table({"age": pa.array([1, None, 3, 4], pa.int64()), "town": ["a", None, "c", "d"]})
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=2)
    return tmp_path / "table.parquet"


def as_json(*columns):
    return [column.model_dump(mode="json") for column in columns]


def test_rows_come_as_a_user_would_have_them(table_file):
    columns = as_json(
        Column(name="age", role="feature", kind="numeric", integer=True),
        Column(name="town", role="feature", kind="category"),
    )
    (frame,) = raw_rows(table_file, columns, np.array([1, 3]))
    assert frame["age"].dtype == np.float64
    assert frame["age"].isna().tolist() == [True, False]
    assert frame["town"].isna().tolist() == [True, False]
    assert frame["town"].tolist()[1] == "d"


def test_images_keep_their_shape(tmp_path):
    pixels = np.arange(24, dtype=np.uint8)
    images = pa.FixedSizeListArray.from_arrays(pa.array(pixels), 6)
    pq.write_table(pa.table({"image": images}), tmp_path / "images.parquet")
    columns = as_json(Column(name="image", role="feature", kind="image", shape=(2, 3, 1)))
    (batch,) = raw_rows(tmp_path / "images.parquet", columns, np.array([1, 3]))
    assert batch.shape == (2, 2, 3, 1)
    assert batch[1].ravel().tolist() == list(range(18, 24))


def test_numbers_of_a_frame_are_one_array_whatever_their_lengths():
    plain = pd.DataFrame({"probability_a": [0.25, 1.0], "probability_b": [0.75, 0.0]})
    assert values_of(plain, list(plain)).tolist() == [[0.25, 0.75], [1.0, 0.0]]
    ragged = pd.DataFrame({"probability_a": [[0.25], [], [1.0, 0.5]], "prediction": ["", "", ""]})
    found = values_of(ragged, ["probability_a"])
    assert found.shape == (3, 2, 1)
    assert np.isnan(found).tolist() == [[[False], [True]], [[True], [True]], [[False], [False]]]
    assert values_of(ragged.iloc[1:2], ["probability_a"]).shape == (1, 0, 1)
