from pathlib import Path

import numpy as np
import pytest

from tasks.config import ModelConfig
from tasks.models.archive import load_network, save_network
from tasks.models.ends import Ends
from tasks.models.mlp import build, embedding_size

CODED = Ends(input_shape=(4,), classes=2, codes=(300, 3))
ROWS = np.array([[0.5, -1, 299, 2], [0.5, -1, 298, 2], [0.5, -1, 0, 0]], np.float32)


def test_each_coded_category_is_looked_up_in_a_table_of_its_own() -> None:
    model = build(CODED, ModelConfig(embedding_size=8))
    shapes = [model.get_layer(f"embedding_{n}").embeddings.shape for n in (1, 2)]
    assert shapes == [(300, 8), (3, 3)]
    assert model.get_layer("hidden_1").kernel.shape[0] == 2 + 8 + 3


@pytest.mark.parametrize(
    ("codes", "most", "size"), [(2, 64, 2), (24, 64, 9), (24, 4, 4), (1, 9, 2)]
)
def test_the_rule_of_thumb(codes: int, most: int, size: int) -> None:
    assert embedding_size(codes, most) == size


def test_categories_alone_make_a_row() -> None:
    model = build(Ends(input_shape=(1,), classes=2, codes=(5,)), ModelConfig())
    assert model.predict(np.array([[4.0]], np.float32), verbose=0).shape == (1, 2)


def test_the_stored_network_looks_up_the_same(tmp_path: Path) -> None:
    model = build(CODED, ModelConfig())
    save_network(model, tmp_path / "network.keras")
    found = load_network(tmp_path / "network.keras")(ROWS)
    assert found == pytest.approx(model.predict(ROWS, verbose=0), abs=1e-6)


def test_large_codes_survive_a_short_precision() -> None:
    from tasks.devices import precision_policy

    with precision_policy("mixed_bfloat16"):
        model = build(CODED, ModelConfig(hidden_units=(), dropout=0))
    tables = model.get_layer("embedding_1")
    values = np.zeros(tables.embeddings.shape, np.float32)
    values[299] = 9
    tables.set_weights([values])
    first, second, _ = model.predict(ROWS, verbose=0)
    # bfloat16 has no 299: both would be row 300, or row 298
    assert first != pytest.approx(second, abs=1e-3)
