import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.columns import as_pixels, typed
from tasks.errors import SourceError, StorageError
from tasks.handoffs import Column, Snapshot
from tasks.snapshots import images, read_snapshot, write_snapshot
from tasks.storage import Storage

IMAGE = Column(name="image", role="feature", kind="image", shape=(2, 3, 1), maximum=9)
SIZE = Column(name="size", role="feature", kind="numeric", personal=True)
LABEL = Column(name="label", role="label", kind="category")
COLUMNS = (IMAGE, SIZE, LABEL)


@pytest.fixture
def table(tmp_path):
    pixels = np.arange(60, dtype=np.uint8).reshape(10, 6)
    values = {"label": list("abababababa"[:10]), "size": range(10), "image": as_pixels(pixels)}
    return typed(pa.table(values), COLUMNS, tmp_path)


@pytest.fixture
def stored(table, store):
    return store(table)


@pytest.fixture
def store(tmp_path):
    return lambda table: stored_snapshot(table, tmp_path)


def stored_snapshot(table, tmp_path):
    write_snapshot(table, tmp_path / "a.parquet")
    storage = Storage(str(tmp_path / "storage"))
    snapshot = Snapshot(
        dataset="x",
        problem="classification",
        file=storage.put_file(tmp_path / "a.parquet"),
        rows=table.num_rows,
        columns=COLUMNS,
        source_digest="0",
    )
    return storage, snapshot


def test_what_is_read_is_what_was_written(table, stored):
    assert read_snapshot(*stored).equals(table)


def test_images_of_many_batches_are_in_order(store, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 9, (9000, 6), np.uint8)
    values = {"image": as_pixels(pixels), "size": range(9000), "label": ["a"] * 9000}
    table = typed(pa.table(values), COLUMNS, tmp_path)
    assert read_snapshot(*store(table)).equals(table)


def test_the_file_says_what_each_column_is_for(stored):
    storage, snapshot = stored
    schema = pq.read_schema(storage.path(snapshot.file))
    assert schema.field("image").metadata[b"shape"] == b"2,3,1"
    assert schema.field("image").metadata[b"maximum"] == b"9"
    assert schema.field("size").metadata == {
        b"role": b"feature", b"kind": b"numeric", b"personal": b"true",
    }  # fmt: skip


def test_the_same_table_gives_the_same_bytes(table, tmp_path):
    write_snapshot(table, tmp_path / "a.parquet")
    write_snapshot(pa.concat_tables([table[:4], table[4:]]), tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_only_some_columns_can_be_read(stored):
    assert read_snapshot(*stored, columns=["label"]).column_names == ["label"]
    assert read_snapshot(*stored, columns=["image"]).column_names == ["image"]


def test_images_are_arrays_without_a_copy(stored):
    table = read_snapshot(*stored)
    pixels = images(table, IMAGE)
    assert pixels.shape == (10, 2, 3, 1)
    assert np.shares_memory(pixels, images(table, IMAGE))
    assert np.array_equal(images(pa.concat_tables([table[:3], table[3:]]), IMAGE), pixels)


def test_a_column_that_is_no_image_has_no_images(table):
    with pytest.raises(SourceError, match="size is not an image"):
        images(table, SIZE)


def test_an_altered_snapshot_is_refused(stored):
    storage, snapshot = stored
    path = storage.path(snapshot.file)
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[50] ^= 255
    path.write_bytes(content)
    with pytest.raises(StorageError, match="was changed after it was written"):
        read_snapshot(storage, snapshot)


def test_a_snapshot_that_is_not_parquet_is_refused(stored):
    storage, snapshot = stored
    other = snapshot.model_copy(update={"file": storage.put_bytes(b"not Parquet", ".parquet")})
    with pytest.raises(StorageError, match="is not a Parquet file that can be read"):
        read_snapshot(storage, other)
