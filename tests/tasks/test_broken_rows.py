import numpy as np
import pandas as pd

from tasks.broken_rows import COLUMNS_AT_MOST, broken_rows
from tasks.handoffs import Column


def test_each_column_of_a_table_is_left_out_and_given_another_type():
    columns = [
        Column(name="age", role="feature", kind="numeric").model_dump(mode="json"),
        Column(name="town", role="feature", kind="category").model_dump(mode="json"),
    ]
    row = pd.DataFrame({"age": [3.0], "town": ["a"]})
    found = [(b.fault, b.named, b.rows.to_dict("list")) for b in broken_rows(row, columns)]
    assert found == [
        ("a column missing", "age", {"town": ["a"]}),
        ("a text for a number", "age", {"age": ["not a number"], "town": ["a"]}),
        ("a column missing", "town", {"age": [3.0]}),
        ("a number for a text", "town", {"age": [3.0], "town": [1.5]}),
    ]


def test_of_a_wide_table_the_first_columns_do():
    columns = [{"name": str(number), "kind": "numeric"} for number in range(300)]
    row = pd.DataFrame([[0.0] * 300], columns=[column["name"] for column in columns])
    assert len(list(broken_rows(row, columns))) == 2 * COLUMNS_AT_MOST


def test_an_image_gets_another_width_and_another_type():
    columns = [{"name": "image", "kind": "image", "shape": [2, 3, 1]}]
    wide, fractions = broken_rows(np.full((1, 2, 3, 1), 255, np.uint8), columns)
    assert (wide.rows.shape, wide.rows.dtype, wide.named) == (
        (1, 2, 6, 1),
        "uint8",
        "(-1, 2, 3, 1)",
    )
    assert (fractions.rows.shape, fractions.rows.dtype) == ((1, 2, 3, 1), "float64")
