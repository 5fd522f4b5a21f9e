import io
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from infra.explaining import explain_version
from infra.own_rows import own_row, row_number
from tasks.errors import ConfigError, DataError
from tasks.settings import Settings

TABLE = SimpleNamespace(
    fitted={"kind": "table", "numeric": [{"name": "age"}], "category": [{"name": "plan"}]},
    columns=("age", "plan"),
)
IMAGES = SimpleNamespace(
    fitted={"kind": "image", "name": "image", "shape": [4, 4, 1], "maximum": 16},
    columns=("image",),
)
TEXTS = SimpleNamespace(fitted={"kind": "text", "name": "text"}, columns=("text",))


@pytest.fixture
def explain(first_digits: Any, tmp_path: Any) -> Any:
    """What `roundhouse explain` shows for the digits of a fresh home, and its picture."""

    def run(address: str, *row: str) -> Any:
        shown, path = io.StringIO(), tmp_path / "pictures" / "row.png"
        console = Console(file=shown, width=100)
        explain_version(address, row, Settings(home=first_digits.home), console, path)
        return SimpleNamespace(shown=shown.getvalue(), path=path)

    return run


def test_a_row_of_the_snapshot_is_predicted_and_drawn(explain: Any) -> None:
    found = explain("digits@champion", "0")
    assert "digits v1, row 0 of its snapshot" in found.shown
    assert "Predicts  0, with a probability of" in found.shown
    assert "true is 0" in found.shown
    assert str(found.path) in found.shown.replace("\n", "")
    assert Image.open(found.path).format == "PNG"


def test_an_image_of_ones_own_is_explained(explain: Any, tmp_path: Any) -> None:
    from sklearn.datasets import load_digits

    path = tmp_path / "seven.json"
    path.write_text(json.dumps(load_digits().images[7].astype(int).tolist()))
    found = explain("digits", str(path))
    assert "digits v1, a row of yours" in found.shown
    assert "Predicts  7" in found.shown
    assert "true is" not in found.shown


@pytest.mark.parametrize(
    ("address", "row", "told"),
    [
        ("digits", "1797", "There is no row 1,797 in the snapshot of digits; expected 0 to 1,796"),
        ("digits/9", "0", "digits has no version 9"),
        ("digits@nobody", "0", "digits has no alias 'nobody'"),
        ("digit", "0", "There is no registered model 'digit'. Did you mean 'digits'?"),
        ("digits", "nowhere.png", "There is no file nowhere.png"),
    ],
)
def test_what_is_not_there_is_told(address: str, row: str, told: str, explain: Any) -> None:
    with pytest.raises(ConfigError, match=told.replace("?", r"\?")):
        explain(address, row)


def test_a_number_is_a_row_of_the_snapshot() -> None:
    assert row_number(["12"]) == 12
    assert row_number(["age=12"]) is None
    assert row_number(["1", "2"]) is None


def test_a_row_is_written_as_pairs_or_as_a_file(tmp_path: Any) -> None:
    (tmp_path / "row.json").write_text('{"plan": null, "age": 31}')
    pairs = own_row(["plan=full", "age=31.5"], TABLE)
    assert pairs.to_dict("records") == [{"age": 31.5, "plan": "full"}]
    assert np.isnan(own_row(["plan=full", "age="], TABLE)["age"][0])
    filed = own_row([str(tmp_path / "row.json")], TABLE)
    assert filed["age"][0] == 31
    assert filed["plan"][0] is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["age=3"], "The row lacks plan; expected a value for each of age, plan"),
        (["age=3", "plan=x", "plann=y"], "takes no column 'plann'. Did you mean 'plan'"),
        (["three"], "Received 'three' for a row; expected the number of a row"),
        (["away.json"], "There is no file away.json"),
        (["a word. " * 40], "There is no file a word"),
    ],
)
def test_a_row_that_does_not_suit_is_told(given: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        own_row(given, TABLE)


def test_a_text_where_a_number_belongs_is_told_without_its_value() -> None:
    with pytest.raises(DataError, match="The column age was given a text; expected a number") as it:
        own_row(["age=secret", "plan=x"], TABLE)
    assert "secret" not in str(it.value)


def test_a_text_needs_no_name() -> None:
    # longer than the name of a file may be
    long = "Call me. " + "please " * 60
    for given, text in (("text=what a day = good", "what a day = good"), (long, long)):
        (value,) = own_row([given], TEXTS)["text"]
        assert value == text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "cannot be read as JSON"),
        ("{}", "holds no image; expected its pixels as lists of numbers, 4 rows of 4"),
        ('[["a"]]', "holds no image"),
        ("[[1], [1, 2]]", "holds no image"),
    ],
)
def test_a_file_without_an_image_is_told(content: str, told: str, tmp_path: Any) -> None:
    path = tmp_path / "image.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=told):
        own_row([str(path)], IMAGES)


def test_a_picture_becomes_pixels_of_the_models_size(tmp_path: Any) -> None:
    Image.new("RGB", (9, 9), (255, 255, 255)).save(tmp_path / "white.png")
    found = own_row([str(tmp_path / "white.png")], IMAGES)
    assert found.shape == (1, 4, 4, 1)
    assert np.all(found == 16)
