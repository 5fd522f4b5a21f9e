import importlib
import importlib.util
import pickle
import sys
from importlib import metadata

import pytest

from tasks.errors import ProofFailed
from tasks.isolation import isolated
from tasks.requirements import closure


@pytest.fixture
def alone(tmp_path):
    """Isolation with what some requirements stand for."""
    return lambda *requirements: isolated(closure(requirements), tmp_path)


@pytest.mark.parametrize(
    ("module", "owner"),
    [("psutil", "of psutil"), ("tasks.outputs", "of "), ("sklearn.metrics", "of scikit-learn")],
)
def test_a_module_that_no_requirement_stands_for_is_refused_by_name(alone, module, owner):
    importlib.import_module(module)
    before = sys.modules[module]
    top = module.partition(".")[0]
    message = rf"needs {top} \({owner}.*requirements do not name"
    with pytest.raises(ProofFailed, match=message), alone("numpy"):
        importlib.import_module(module)
    assert sys.modules[module] is before
    assert importlib.import_module(module) is before


def test_it_is_refused_through_the_errors_around_it(alone):
    def load():
        try:
            importlib.import_module("psutil")
        except ImportError as error:
            raise RuntimeError("cannot load") from error

    with pytest.raises(ProofFailed, match="needs psutil"), alone("numpy"):
        load()


def test_what_requirements_stand_for_is_imported(alone):
    with alone("mlflow", "keras"):
        assert importlib.import_module("numpy").ones(1)
        assert importlib.import_module("sqlalchemy.orm")
        assert importlib.import_module("tomllib")


def test_an_optional_part_of_a_library_is_just_not_there(alone):
    with alone("numpy"):
        assert importlib.util.find_spec("psutil") is None
        with pytest.raises(metadata.PackageNotFoundError):
            metadata.version("psutil")
        assert metadata.version("numpy")
    assert metadata.version("psutil")


def test_a_name_that_distributions_share_is_told_apart_by_its_files(alone):
    with alone("protobuf"):
        assert importlib.import_module("google.protobuf.json_format")
    with pytest.raises(ProofFailed, match=r"needs google\.auth"), alone("protobuf"):
        importlib.import_module("google.auth")


def test_the_code_of_the_package_itself_is_imported(alone, tmp_path, monkeypatch):
    (tmp_path / "code_of_the_package.py").write_text("VALUE = 3\n")
    (tmp_path.parent / "code_beside_it.py").write_text("VALUE = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path.parent))
    with alone("numpy"):
        assert importlib.import_module("code_of_the_package").VALUE == 3
    del sys.modules["code_of_the_package"]
    message = r"needs code_beside_it \(of no distribution\)"
    with pytest.raises(ProofFailed, match=message), alone("numpy"):
        importlib.import_module("code_beside_it")


def test_nothing_is_unpickled(alone):
    content = pickle.dumps(ValueError("x"))
    for loads in (pickle.loads, pickle._loads):
        with pytest.raises(ProofFailed, match=r"unpickles builtins\.ValueError"), alone("numpy"):
            loads(content)
    assert isinstance(pickle.loads(content), ValueError)


def test_another_error_stays_what_it_is(alone):
    finders = list(sys.meta_path)
    with pytest.raises(ZeroDivisionError), alone("numpy"):
        1 / 0  # noqa: B018
    assert sys.meta_path == finders
