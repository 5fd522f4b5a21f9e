import numpy as np
import pandas as pd
import pytest

from tasks.keys import key_id
from tasks.masking import mask
from tasks.treatments import keyed_hash, lower_edges, treated

KEY = bytes(range(32))
KEY_ID = key_id(KEY, "privacy")


def treatment(name, protection, kind, range_width=None, prefix_length=None):
    return {
        "name": name, "protection": protection, "kind": kind, "range_width": range_width,
        "prefix_length": prefix_length,
    }  # fmt: skip


TREATMENTS = [
    treatment("age", "generalise", "numeric", range_width=10),
    treatment("postcode", "generalise", "category", prefix_length=2),
    treatment("note", "mask", "text"),
    treatment("shop", "hash", "category"),
]


def frame():
    return pd.DataFrame(
        {
            "age": [39.9, 40, np.nan, -1],
            "postcode": ["8001", " 8123", None, "3"],
            "note": ["Dear Ada, 07911123457", "", None, "fine"],
            "shop": ["north", " north", None, "south"],
        }
    )


@pytest.mark.parametrize(
    ("values", "width", "edges"),
    [
        ([0, 9.99, 10, -0.5], 10, [0, 0, 10, -10]),
        ([0.3, 0.7, 0.1 + 0.2], 0.1, [0.3, 0.7, 0.3]),
        ([1e12 + 3, np.nan], 7, [1e12 - 1e12 % 7 + (1e12 % 7 + 3) // 7 * 7, np.nan]),
    ],
)
def test_lower_edges_stay_where_they_are(values, width, edges) -> None:
    found = lower_edges(np.array(values, float), width)
    np.testing.assert_allclose(found, edges, rtol=1e-12)
    np.testing.assert_array_equal(lower_edges(found, width), found)


def test_raw_rows_become_as_they_were_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDHOUSE_PRIVACY_KEY", KEY.hex())
    raw = frame()
    found = treated(raw, TREATMENTS, mask, KEY_ID)
    assert found["age"].fillna(-99).tolist() == [30, 40, -99, -10]
    assert found["postcode"].fillna("").tolist() == ["80", "81", "", "3"]
    assert found["note"].fillna("").tolist() == ["Dear [NAME], [PHONE]", "", "", "fine"]
    north = keyed_hash("north", KEY)
    assert found["shop"].fillna("").tolist() == [north, north, "", keyed_hash("south", KEY)]
    pd.testing.assert_frame_equal(raw, frame())


def test_stored_rows_stay_as_they_are_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDHOUSE_PRIVACY_KEY", KEY.hex())
    stored = treated(frame(), TREATMENTS, mask, KEY_ID)
    monkeypatch.delenv("ROUNDHOUSE_PRIVACY_KEY")
    pd.testing.assert_frame_equal(treated(stored, TREATMENTS, mask, KEY_ID), stored)


@pytest.mark.parametrize(("held", "came"), [("", "no key"), (bytes(32).hex(), "another key")])
def test_a_server_without_the_key_says_so(
    monkeypatch: pytest.MonkeyPatch, held: str, came: str
) -> None:
    monkeypatch.setenv("ROUNDHOUSE_PRIVACY_KEY", held)
    with pytest.raises(ValueError, match=rf"'shop' was hashed .*{KEY_ID}.* holds {came}") as raised:
        treated(frame(), TREATMENTS, mask, KEY_ID)
    assert "north" not in str(raised.value)


def test_a_hash_depends_on_its_key_and_hides_the_text() -> None:
    assert keyed_hash("7590-VHVEG", KEY) != keyed_hash("7590-VHVEG", bytes(32))
    assert keyed_hash("7590-VHVEG", KEY) == "hmac:" + keyed_hash("7590-VHVEG", KEY)[5:]
    assert len(keyed_hash("7590-VHVEG", KEY)) == 29
