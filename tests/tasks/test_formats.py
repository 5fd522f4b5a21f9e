import gzip
import traceback
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.datasets import DATASETS
from tasks.errors import SourceError
from tasks.formats import read_idx, read_parquet, read_table, unpacked
from tasks.handoffs import Column

TELCO = DATASETS["telco_churn"].columns
PLAIN = (
    Column(name="when", role="feature", kind="time"),
    Column(name="size", role="feature", kind="numeric"),
    Column(name="count", role="feature", kind="numeric", integer=True),
    Column(name="secret", role="feature", kind="numeric", personal=True),
    Column(name="label", role="label", kind="category"),
)


def plain(path: Path, *rows: str, header: str = "when,size,count,secret,label") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def refused(path: Path, columns: tuple[Column, ...] = PLAIN) -> str:
    with pytest.raises(SourceError) as raised:
        read_table(path, columns)
    return str(raised.value)


def logged(error: Exception) -> str:
    """The error as the log file has it."""
    return "".join(traceback.format_exception(error))


def test_values_become_their_types_and_blanks_nulls(tmp_path):
    path = plain(
        tmp_path / "a.csv", "2026-01-31 10:00:00, 1.5 ,3,1, yes ", ",nan,,,", '"","2",4.0,2,no'
    )
    table, first = read_table(path, PLAIN)
    assert first == ["when", "size", "count", "secret", "label"]
    assert table["size"].to_pylist() == [1.5, None, 2.0]
    assert table["count"].to_pylist() == [3, None, 4]
    assert table["label"].to_pylist() == ["yes", None, "no"]
    assert table["when"][0].as_py().isoformat() == "2026-01-31T10:00:00"


def test_columns_may_come_in_any_order_and_packed(tmp_path):
    rows = gzip.compress(b"\xef\xbb\xbflabel,count,size,secret,when\r\nyes,1,2,3,2026-01-31\r\n")
    (tmp_path / "a.csv.gz").write_bytes(rows)
    table, _ = read_table(tmp_path / "a.csv.gz", PLAIN)
    assert table.column_names == ["when", "size", "count", "secret", "label"]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("2026-01-31,big,1,1,yes", "'size' of .* has values with 'big' in row 2; expected numbers"),
        ("2026-01-31,inf,1,1,yes", "'size' of .* has an infinite number in row 2"),
        ("2026-01-31,1,1.5,1,yes", "'count' of .* in row 2; expected whole numbers"),
        ("someday,1,1,1,yes", "'when' of .* with 'someday' in row 2; expected times such as"),
        ("2026-01-31,1,1,1", "has 4 values in row 2; expected 5"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_place(tmp_path, row, sentence):
    path = plain(tmp_path / "a.csv", "2026-01-31,1,1,1,yes", row)
    with pytest.raises(SourceError, match=sentence):
        read_table(path, PLAIN)


def test_a_personal_value_is_never_shown(tmp_path):
    path = plain(tmp_path / "a.csv", "2026-01-31,1,1,hidden,yes")
    with pytest.raises(SourceError) as raised:
        read_table(path, PLAIN)
    assert "with a value in row 1" in str(raised.value)
    assert "hidden" not in logged(raised.value)


def test_a_missing_column_names_a_close_one(tmp_path):
    message = refused(plain(tmp_path / "a.csv", "1", header="when,size,count,secret,Label"))
    assert "lacks 'label', the label; it has 'when', 'size'" in message
    assert "Is 'Label' meant?" in message


def test_a_column_of_another_separator_is_missing(tmp_path, telco_lines):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(telco_lines).replace(",", ";"))
    message = refused(path, TELCO)
    assert "names none of the dataset's columns; expected 'customerID', 'gender'" in message
    assert "and 11 more" in message


def test_an_extra_column_is_named(tmp_path):
    message = refused(plain(tmp_path / "a.csv", "1", header="when,size,count,secret,label,age"))
    assert "has 'age', which the dataset does not know" in message
    assert "Remove it" in message


def test_a_column_that_is_there_twice_is_named(tmp_path):
    message = refused(plain(tmp_path / "a.csv", "1", header="when,size,count,secret,label,size"))
    assert "has 'size', more than once" in message


def test_another_encoding_is_named_by_line_and_byte(tmp_path, telco_lines):
    path = tmp_path / "a.csv"
    path.write_bytes("\n".join([*telco_lines, "Zoë"]).encode("latin-1"))
    assert "is not UTF-8: byte " in refused(path, TELCO)
    assert "in line 122, is 0xeb. Save it as UTF-8" in refused(path, TELCO)


@pytest.mark.parametrize("end", ["", "\n", "\n\n  \n"])
def test_a_header_alone_is_refused(tmp_path, telco_lines, end):
    path = tmp_path / "a.csv"
    path.write_text(telco_lines[0] + end.replace("  ", ""))
    assert "has a first line and no rows" in refused(path, TELCO)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.csv").touch()
    assert "a.csv is empty" in refused(tmp_path / "a.csv")


def test_a_row_longer_than_a_block_is_refused_without_showing_it(tmp_path):
    path = plain(tmp_path / "a.csv", "2026-01-31,1,1,1,yes", '"' + "x" * (40 << 20))
    message = refused(path)
    assert "cannot be read as CSV" in message
    assert "xxx" not in message


def test_a_truncated_gzip_is_cut_short(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(np.random.default_rng(0).bytes(10_000), mtime=0)[:5000])
    assert "is cut short" in refused(path)


@pytest.mark.parametrize(
    "content", [b"no gzip at all", gzip.compress(b"a" * 99, mtime=0)[:10] + b"\xff" * 30]
)
def test_what_is_not_gzip_is_said_to_be(tmp_path, content):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(content)
    assert "named .gz and is damaged or not gzip" in refused(path)


def test_a_file_that_is_gone_cannot_be_read(tmp_path):
    with pytest.raises(SourceError, match="cannot be read: No such file"), unpacked(tmp_path / "a"):
        pass


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"PNG", "starts with 504e47; expected 00000803"),
        (bytes((0, 0, 8, 1)) + bytes(20), "starts with 00000801; expected 00000803"),
        (
            bytes((0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3)),
            r"shape \(2, 3\); expected \(2, 2\)",
        ),
        (
            bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 7)),
            "holds 1 values; .* promises 8",
        ),
    ],
)
def test_a_damaged_idx_file_says_how(tmp_path, content, sentence):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=sentence):
        read_idx(path, row_shape=(2, 2))


def test_parquet_of_other_types_becomes_the_columns_types(tmp_path):
    values = {
        "label": pa.array(["yes", "no"]).dictionary_encode(),
        "count": pa.array([1.0, float("nan")]),
        "size": pa.array([1, 2], pa.int8()),
        "secret": pa.array([True, False]).cast(pa.uint8()),
        "when": pa.array(["2026-01-31", " "], pa.large_string()),
    }
    pq.write_table(pa.table(values), tmp_path / "a.parquet")
    table = read_parquet(tmp_path / "a.parquet", PLAIN)
    assert table["count"].to_pylist() == [1, None]
    assert table["when"].null_count == 1
    assert [str(kind) for kind in table.schema.types] == [
        "timestamp[us]", "double", "int64", "double", "string",
    ]  # fmt: skip


def test_truncated_parquet_is_one_sentence(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"label": ["yes"] * 500}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match="is cut short or damaged"):
        read_parquet(path, PLAIN)


def test_parquet_without_rows_is_refused(tmp_path):
    names = [column.name for column in PLAIN]
    pq.write_table(
        pa.table({name: pa.array([], pa.string()) for name in names}), tmp_path / "a.parquet"
    )
    with pytest.raises(SourceError, match="has no rows"):
        read_parquet(tmp_path / "a.parquet", PLAIN)
