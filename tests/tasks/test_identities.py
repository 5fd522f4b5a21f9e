import numpy as np
import pyarrow as pa

from tasks.columns import as_pixels
from tasks.handoffs import Column
from tasks.identities import row_fractions, row_identities

NAME = Column(name="name", role="feature", kind="category")
SIZE = Column(name="size", role="feature", kind="numeric")
WHEN = Column(name="when", role="feature", kind="time")
IMAGE = Column(name="image", role="feature", kind="image", shape=(2, 2, 1), maximum=9)


def test_an_identity_depends_on_the_content_only():
    table = pa.table({"name": ["a", "b", None, "a"], "size": [1.0, 2.0, None, 1.0]})
    all_rows = row_identities(table, (NAME, SIZE))
    turned = row_identities(table.take([3, 2, 1]), (NAME, SIZE))
    assert turned.tolist() == all_rows[[3, 2, 1]].tolist()
    assert len(set(all_rows.tolist())) == 3


def test_the_values_of_an_identity_never_change():
    """Stored splits rest on these numbers: another number would move rows between sides."""
    table = pa.table({"name": ["a"], "size": [1.5]})
    assert row_identities(table, (NAME, SIZE), purpose="split", seed=0).tolist() == [
        4623517728628080921
    ]


def test_equal_numbers_of_other_types_are_the_same():
    whole = row_identities(pa.table({"size": [0, 3]}), (SIZE,))
    assert whole.tolist() == row_identities(pa.table({"size": [-0.0, 3.0]}), (SIZE,)).tolist()


def test_seeds_and_purposes_are_independent():
    table = pa.table({"size": [1.0]})
    numbers = {
        row_identities(table, (SIZE,), purpose=purpose, seed=seed)[0]
        for purpose in ("split", "rows")
        for seed in (0, 1)
    }
    assert len(numbers) == 4


def test_images_and_times_have_identities():
    times = pa.array([1, 2], pa.timestamp("us"))
    table = pa.table({"when": times, "image": as_pixels(np.eye(2, 4, dtype=np.uint8))})
    assert len(set(row_identities(table, (WHEN, IMAGE)).tolist())) == 2
    assert len(row_identities(table[:0], (WHEN, IMAGE))) == 0


def test_fractions_are_spread_evenly_below_one():
    table = pa.table({"size": np.arange(20_000, dtype=float)})
    fractions = row_fractions(row_identities(table, (SIZE,)))
    assert abs(np.mean(fractions < 0.15) - 0.15) < 0.01
    assert row_fractions(np.array([2**64 - 1], np.uint64))[0] < 1.0
