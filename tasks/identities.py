"""Stable 64-bit identities of rows: the same content gives the same number, wherever it stands."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from tasks.handoffs import Column

if TYPE_CHECKING:
    import pyarrow

BYTES = 8
BLANK = 0x7FF8_0000_0000_0001  # a NaN that no computation produces


def row_identities(
    table: pyarrow.Table, columns: tuple[Column, ...], *, purpose: str = "", seed: int = 0
) -> np.ndarray:
    """One number per row, from the content of some columns.

    Each number is the 64-bit BLAKE2b digest (RFC 7693) of the row's values, so it depends neither
    on the row's place nor on the other rows. Blanks are equal to each other, as are 0.0 and -0.0,
    and 3 and 3.0.

    Args:
        table: The rows.
        columns: Columns that count, in this order.
        purpose: At most 16 bytes; another purpose gives independent numbers.
        seed: Another seed gives independent numbers.

    Returns:
        uint64 [rows].
    """
    person, salt = purpose.encode(), seed.to_bytes(16, "little")
    parts = [_column_bytes(table, column) for column in columns]
    content = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    flat, width = np.ascontiguousarray(content).reshape(-1).data, content.shape[1]
    blake2b = hashlib.blake2b
    digests = b"".join(
        blake2b(flat[start : start + width], digest_size=BYTES, person=person, salt=salt).digest()
        for start in range(0, table.num_rows * width, width)
    )
    return np.frombuffer(digests, "<u8")


def row_fractions(identities: np.ndarray) -> np.ndarray:
    """Identities as numbers from 0 to 1, 1 excluded; float64 [rows]."""
    # 53 bits fill a float64, so nothing rounds up to 1
    return (identities >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _column_bytes(table: pyarrow.Table, column: Column) -> np.ndarray:
    """The values of a column as uint8 [rows, width]."""
    import pyarrow as pa

    values = table[column.name].combine_chunks()
    if pa.types.is_fixed_size_list(values.type):
        pixels: np.ndarray = values.flatten().to_numpy()
        return pixels.reshape(len(values), values.type.list_size)
    if pa.types.is_string(values.type):
        numbers = _text_numbers(values)
    else:
        if pa.types.is_timestamp(values.type):
            values = values.cast(pa.int64())
        # adding 0.0 turns -0.0 into 0.0
        floats = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) + 0.0
        numbers = np.where(np.isnan(floats), np.uint64(BLANK), floats.view(np.uint64))
    return numbers.astype("<u8").view(np.uint8).reshape(-1, BYTES)


def _text_numbers(values: pyarrow.StringArray) -> np.ndarray:
    """A 64-bit digest for each text, made once per distinct text."""
    encoded = values.dictionary_encode()
    digests = b"".join(
        hashlib.blake2b(text.encode(), digest_size=BYTES).digest()
        for text in encoded.dictionary.to_pylist()
    )
    known = np.append(np.frombuffer(digests, "<u8"), np.uint64(BLANK))
    codes: np.ndarray = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    numbers: np.ndarray = known[codes]
    return numbers
