from typing import Any

import pytest

from infra.merging import three_way

BLOCK = {"training": {"epochs": 20, "batch_size": 32}, "pipeline": "digits"}


def tree(**training: Any) -> dict[str, Any]:
    return {**BLOCK, "training": {**BLOCK["training"], **training}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("wanted", "before", "there", "merged"),
    [
        ("a", "a", "a", "a"),
        ("a", "a", "ui", "ui"),
        ("b", "a", "a", "b"),
        ("b", "a", "ui", "b"),
        (BLOCK, BLOCK, tree(epochs=3), tree(epochs=3)),
        (tree(batch_size=64), BLOCK, tree(epochs=3), tree(epochs=3, batch_size=64)),
        (BLOCK, tree(patience=2), tree(patience=2), BLOCK),
        (tree(patience=2), BLOCK, BLOCK, tree(patience=2)),
        ({**BLOCK, "force": True}, BLOCK, tree(epochs=3), {**tree(epochs=3), "force": True}),
    ],
)
def test_the_side_that_changed_wins_field_by_field(
    wanted: Any, before: Any, there: Any, merged: Any
) -> None:
    assert three_way(wanted, before, there) == merged
