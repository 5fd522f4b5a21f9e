from importlib import metadata

import pytest

from tasks.errors import ProofFailed
from tasks.requirements import closure, read_requirements, require_installed


def test_requirements_stand_for_all_that_they_require():
    found = closure(("mlflow==3.17.2", "Keras"))
    assert {"mlflow", "mlflow-skinny", "scikit-learn", "keras", "h5py"} <= found
    assert not {"prefect", "great-expectations", "onnxruntime", "roundhouse-ml"} & found


def test_an_extra_is_required_where_it_is_asked_for():
    assert "boto3" not in closure(("s3fs",))
    assert "aiohttp" in closure(("fsspec[http]",))
    assert "aiohttp" not in closure(("fsspec",))


def test_lines_come_without_comments(tmp_path):
    (tmp_path / "requirements.txt").write_text("# what it needs\nnumpy==2.4.1  # arrays\n\n")
    assert read_requirements(tmp_path) == ("numpy==2.4.1",)
    with pytest.raises(ProofFailed, match=r"has no requirements\.txt"):
        read_requirements(tmp_path / "elsewhere")


def test_the_pinned_version_has_to_be_the_installed_one():
    installed = metadata.version("numpy")
    require_installed((f"numpy=={installed}",))
    with pytest.raises(ProofFailed, match=rf"requires numpy==1\.0, and {installed} is installed"):
        require_installed(("numpy==1.0",))
    with pytest.raises(ProofFailed, match="requires no-such-thing==1, and none is installed"):
        require_installed(("no-such-thing==1",))


@pytest.mark.parametrize("line", ["numpy", "numpy>=1", "numpy==2.*", "-c constraints.txt"])
def test_a_requirement_of_no_one_version_is_refused(line):
    with pytest.raises(ProofFailed, match=r"requires '.*'; expected .* name==1"):
        require_installed((line,))


def test_a_local_label_does_not_count(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "2.21.0+cu128")
    require_installed(("tensorflow==2.21.0",))
