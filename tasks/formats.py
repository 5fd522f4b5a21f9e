"""The file formats of sources: gzip, IDX, CSV and Parquet; each damage is one sentence."""

from __future__ import annotations

import contextlib
import csv
import gzip
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

import numpy as np

from tasks.columns import check_names, typed
from tasks.errors import SourceError
from tasks.handoffs import Column

if TYPE_CHECKING:
    import pyarrow

ANEW = "Get the file anew, or set ingestion.location to another place."
# IDX: two zero bytes, 0x08 for unsigned bytes, the number of dimensions, then each dimension as a
# big-endian 32-bit number (described at http://yann.lecun.com/exdb/mnist/).
IDX_UNSIGNED_BYTE = 8


@contextlib.contextmanager
def unpacked(path: Path, origin: str | None = None) -> Iterator[BinaryIO]:
    """A stream of a file's bytes; those of a `.gz` file are unpacked on the way.

    Args:
        path: The file.
        origin: How messages call it, where that is not its path.

    Raises:
        SourceError: The file is gone, cannot be read, is empty, or is not a whole gzip file.
    """
    name = origin or path
    try:
        with path.open("rb") as start:
            if not start.read(1):
                raise SourceError(f"The file {name} is empty. {ANEW}")
        if path.suffix == ".gz":
            with gzip.open(path) as packed:
                yield cast(BinaryIO, packed)
        else:
            with path.open("rb") as plain:
                yield plain
    except EOFError as error:
        raise SourceError(f"The gzip file {name} is cut short. {ANEW}") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(
            f"The file {name} is named .gz and is damaged or not gzip ({error}). {ANEW}"
        ) from error
    except OSError as error:
        raise SourceError(
            f"The file {name} cannot be read: {error.strerror or error}. Make it readable, or set "
            "ingestion.location to another place."
        ) from error


def read_idx(path: Path, row_shape: tuple[int, ...]) -> np.ndarray:
    """An IDX file of unsigned bytes.

    Args:
        path: The file, packed or not.
        row_shape: Shape that one row must have.

    Returns:
        uint8 [rows, *row_shape], read-only.

    Raises:
        SourceError: It is not IDX, of another shape, or its size is not what its head says.
    """
    with unpacked(path) as stream:
        content = stream.read()
    dimensions = 1 + len(row_shape)
    offset = 4 * (1 + dimensions)
    if len(content) < offset or content[:4] != bytes((0, 0, IDX_UNSIGNED_BYTE, dimensions)):
        raise SourceError(
            f"The file {path} starts with {content[:4].hex() or 'nothing'}; expected "
            f"{bytes((0, 0, IDX_UNSIGNED_BYTE, dimensions)).hex()}, an IDX file of bytes in "
            f"{dimensions} dimensions. {ANEW}"
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4))
    if shape[1:] != row_shape:
        raise SourceError(
            f"The file {path} holds rows of shape {shape[1:]}; expected {row_shape}. {ANEW}"
        )
    if len(content) - offset != math.prod(shape):
        raise SourceError(
            f"The file {path} holds {len(content) - offset:,} values; its head promises "
            f"{math.prod(shape):,}. {ANEW}"
        )
    return np.frombuffer(content, np.uint8, offset=offset).reshape(shape)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file in UTF-8, empty ones included, without their ends.

    Only line feeds end a line: texts of people hold other characters that Python takes for ends.

    Raises:
        SourceError: Another encoding, or the file is gone, empty or damaged.
    """
    lines = _text(path).split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_tagged_words(path: Path) -> list[list[tuple[str, str]]]:
    """Texts in the CoNLL format: a word, a tab and its tag on each line, an empty line after each.

    Described by Tjong Kim Sang and De Meulder, 2003 (https://aclanthology.org/W03-0419/); other
    columns between the two are left out.

    Raises:
        SourceError: A line has no tag or spaces in its word; another encoding, or no texts.
    """
    texts: list[list[tuple[str, str]]] = [[]]
    for number, line in enumerate(read_lines(path), start=1):
        word, *others = line.strip().split("\t")
        if word and (not others or len(word.split()) > 1):
            raise SourceError(
                f"Line {number:,} of {path} is no word, a tab and a tag. Mend it; an empty line "
                "ends a text."
            )
        if word:
            texts[-1].append((word, others[-1]))
        elif texts[-1]:
            texts.append([])
    found = [text for text in texts if text]
    if not found:
        raise SourceError(f"The file {path} has no texts. {ANEW}")
    return found


def read_whole_numbers(path: Path, width: int) -> np.ndarray:
    """A CSV file of whole numbers without a header, as int64 [rows, width].

    Raises:
        SourceError: A row has another width, or a value is not a whole number.
    """
    lines = [line for line in _text(path).splitlines() if line.strip()]
    if not lines:
        raise SourceError(f"The file {path} has no rows. {ANEW}")
    try:
        rows = np.loadtxt(lines, delimiter=",", dtype=np.int64, ndmin=2, comments=None)
    except ValueError as error:
        # as NumPy says it, but for the value, which may be anybody's
        told = re.sub(r"string '.*?' to", "a value to", str(error), flags=re.DOTALL)
        raise SourceError(
            f"The file {path} is not a table of whole numbers: {told}. {ANEW}"
        ) from None
    if rows.shape[1] != width:
        raise SourceError(
            f"The file {path} has {rows.shape[1]} values in a row; expected {width}. {ANEW}"
        )
    return rows


def read_table(
    path: Path,
    columns: tuple[Column, ...],
    *,
    first_line: Literal["names", "other", "row"] = "names",
) -> tuple[pyarrow.Table, list[str]]:
    """A CSV file in UTF-8 as a table of typed columns; blanks and NaN become nulls.

    Args:
        path: The file, packed or not.
        columns: The columns it must have, in any order.
        first_line: Whether the first line names the columns, says something else, or is the first
            row; where it does not name them, they are `columns`, in order.

    Returns:
        The table, its columns in the order of `columns`; and the cells of the first line.

    Raises:
        SourceError: Another encoding, missing or extra columns, no rows, a row of another width,
            or a value that its column cannot hold.
    """
    text = _text(path)
    end = text.find("\n") + 1 or len(text)
    first = [cell.strip() for cell in next(csv.reader([text[:end].strip("\r\n")]), [])]
    names = first if first_line == "names" else [column.name for column in columns]
    check_names(names, columns, path)
    table = _strings(text[0 if first_line == "row" else end :], names, path)
    if table.num_rows == 0:
        raise SourceError(f"The file {path} has a first line and no rows below it. {ANEW}")
    return typed(table, columns, path), first


def read_parquet(path: Path, columns: tuple[Column, ...]) -> pyarrow.Table:
    """A Parquet file with a dataset's columns, as a table of typed columns.

    Raises:
        SourceError: It is damaged, its columns are others, it has no rows, or a value does not fit.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # a file handle, since a path would also be taken for a folder of partitions
        with path.open("rb") as stream:
            table = pq.read_table(stream)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"The Parquet file {path} is cut short or damaged: {_first_line(error)}. {ANEW}"
        ) from error
    check_names(table.column_names, columns, path)
    if table.num_rows == 0:
        raise SourceError(f"The Parquet file {path} has no rows. {ANEW}")
    return typed(table, columns, path)


def _text(path: Path) -> str:
    with unpacked(path) as stream:
        content = stream.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"The file {path} is not UTF-8: byte {error.start + 1:,}, in line {row:,}, is "
            f"0x{content[error.start]:02x}. Save it as UTF-8."
        ) from error


def _strings(text: str, names: list[str], path: Path) -> pyarrow.Table:
    """The rows as strings, blanks as nulls."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    ragged: list[Any] = []

    def keep(row: Any) -> str:
        ragged.append(row)
        return "skip"

    try:
        table = pa_csv.read_csv(
            pa.BufferReader(text.encode()),
            # one thread, as rows are numbered only then; the block must hold the longest row
            read_options=pa_csv.ReadOptions(
                column_names=names, use_threads=False, block_size=1 << 24
            ),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=keep),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        if text.strip():
            # the message of Arrow may quote a row, and a row may be personal
            raise SourceError(f"The file {path} cannot be read as CSV. {ANEW}") from None
        return pa.table({name: pa.array([], pa.string()) for name in names})
    if ragged:
        row = ragged[0]
        raise SourceError(
            f"The file {path} has {row.actual_columns} values in row {row.number:,}; expected "
            f"{row.expected_columns}, as in its first line. {len(ragged):,} rows are like that; "
            "mend them, or quote the values that hold a comma."
        )
    return table


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else "no reason"
