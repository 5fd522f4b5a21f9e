import importlib
from pathlib import Path

import pytest

from tasks import fingerprints
from tasks.config import ModelConfig, PreparationConfig, TrainingConfig
from tasks.errors import ConfigError
from tasks.fingerprints import code_digest, environment_digest, values_digest
from tasks.handoffs import Source, SourceFile, StoredFile


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "engine_under_test.py"
    path.write_text('"""An engine."""\n\ndef turn(x):\n    return x + 1\n')
    monkeypatch.syspath_prepend(tmp_path)
    return path


def digest_of(path: Path) -> str:
    fingerprints._files.cache_clear()
    fingerprints._file_digest.cache_clear()
    importlib.invalidate_caches()
    return code_digest([path.stem])


def test_comments_and_docstrings_do_not_count(module: Path) -> None:
    before = digest_of(module)
    module.write_text('"""Another text."""\n\n\ndef turn(x):\n    # why\n    return x + 1\n')
    assert digest_of(module) == before


def test_code_counts(module: Path) -> None:
    before = digest_of(module)
    module.write_text("def turn(x):\n    return x + 2\n")
    assert digest_of(module) != before


def test_every_file_of_a_package_counts() -> None:
    assert code_digest(["tasks"]) != code_digest(["tasks.config"])


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="stage's code= names it"):
        code_digest(["no_such_module"])


def test_values_count_by_content() -> None:
    assert values_digest(TrainingConfig(epochs=3)) == values_digest(TrainingConfig(epochs=3))
    assert values_digest(TrainingConfig(epochs=3)) != values_digest(TrainingConfig(epochs=4))


def test_without_a_lock_what_is_installed_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_lock = environment_digest()
    environment_digest.cache_clear()
    monkeypatch.setattr(fingerprints, "PROJECT_FOLDER", tmp_path)
    try:
        assert environment_digest() != with_lock
    finally:
        environment_digest.cache_clear()


def test_where_bytes_lie_does_not_count() -> None:
    here, there = (StoredFile(uri=f"{root}/content/ab", sha256="ab", size=2) for root in "xy")
    assert values_digest(here) == values_digest(there)
    assert values_digest(here) != values_digest(here.model_copy(update={"sha256": "cd"}))
    sources = [
        Source(
            dataset="digits",
            location=place,
            files=(SourceFile(name="a", path=f"{place}/a", sha256="ab", size=2),),
            digest="ab",
        )
        for place in "xy"
    ]
    assert values_digest(sources[0]) == values_digest(sources[1])


def test_pretrained_files_count_by_what_they_hold_and_not_by_where(tmp_path: Path) -> None:
    def digest(name: str) -> str:
        return values_digest(ModelConfig(pretrained=str(tmp_path / name)))

    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert digest("one") == digest("other")
    vocabulary = PreparationConfig(vocabulary=str(tmp_path / "one"))
    before = values_digest(vocabulary)
    (tmp_path / "one" / "config.json").write_text('{"layers": 2}')
    assert digest("one") != digest("other")
    assert values_digest(vocabulary) != before
    with pytest.raises(ConfigError, match="is not there"):
        digest("gone")


def test_the_digest_of_code_is_that_of_every_version_of_python(module: Path) -> None:
    """What a cluster with another Python has split or judged can be compared with here."""
    module.write_text(
        "import os\n\n\nclass Row(object):\n    pass\n"
        "\n\n@decorated\nasync def told(a, /, b: int = 0, *c, d=None, **e) -> str:\n"
        "    with open(a) as file, os.scandir(b):\n"
        "        return f'{a!r:>{b}}' + 'text' if b else lambda x: x[1:, ...]\n"
    )
    assert fingerprints._file_digest(module) == (
        "58101284e7f147e28e5743cf80c0f5bd5bc7fc3b8c166b3410dcbce74976e5d1"
    )
