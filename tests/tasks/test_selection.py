from dataclasses import replace

import pyarrow as pa
import pytest

from tasks.datasets import get_dataset
from tasks.errors import ConfigError, DataError
from tasks.selection import choose_labels, expected_labels, require_labels

DIGITS = get_dataset("digits")
OPEN = replace(DIGITS, classes=())
VALUES = replace(DIGITS, problem="regression", classes=())
TABLE = pa.table({"digit": pa.array(["3", "0", None, "1", "3"]), "number": range(5)})


def test_only_rows_with_the_labels_stay_in_their_order() -> None:
    chosen = choose_labels(TABLE, DIGITS, ("3", "1"))
    assert chosen["number"].to_pylist() == [0, 3, 4]
    assert choose_labels(TABLE, DIGITS, ()) is TABLE


def test_labels_that_no_row_has_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"names '7', which no row .* expected some of '0', '1'"):
        choose_labels(TABLE, DIGITS, ("3", "7"))


def test_labels_are_refused_where_there_are_no_classes() -> None:
    with pytest.raises(ConfigError, match="regression; expected classes"):
        choose_labels(TABLE, VALUES, ("3",))


def test_the_labels_to_be_expected_are_those_asked_for_or_those_of_the_source() -> None:
    assert expected_labels(TABLE, DIGITS, ()) == ()
    assert expected_labels(TABLE, DIGITS, ("0", "3")) == ("0", "3")
    assert expected_labels(TABLE, OPEN, ()) == ("0", "1", "3")
    assert expected_labels(TABLE, VALUES, ()) == ()


def test_fewer_rows_than_labels_are_refused() -> None:
    require_labels(TABLE, DIGITS, ("0", "1", "3"))
    with pytest.raises(DataError, match="10 labels"):
        require_labels(TABLE, DIGITS)
