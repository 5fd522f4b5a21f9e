from typing import Any

import pytest

from tasks.config import ExportConfig
from tasks.conversion import forms
from tasks.conversion.forms import forms_of, require_exportable
from tasks.errors import ConfigError


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, []),
        ({"maximum_loss": 0.5, "fine_tuning_epochs": 9}, []),
        ({"formats": ("litert",)}, ["original", "litert"]),
        ({"formats": ("onnx", "onnx")}, ["original", "onnx"]),
        ({"quantisation": "float16"}, ["original", "keras float16"]),
        ({"pruning": 0.5}, ["original", "keras pruned"]),
        (
            {"formats": ("keras", "saved_model"), "pruning": 0.5, "quantisation": "int8"},
            ["original", "keras pruned", "keras pruned int8", "saved_model pruned int8"],
        ),
    ],
)
def test_what_is_asked_for_is_made_after_the_original(
    changes: dict[str, Any], names: list[str]
) -> None:
    assert [form.name for form in forms_of(ExportConfig(**changes), "keras")] == names


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pruning": 0.5}, r"export\.pruning is 0\.5, .* no network but trees"),
        ({"quantisation": "int8"}, r"export\.quantisation is 'int8'"),
        ({"formats": ("onnx", "litert")}, r"export\.formats is \['litert'\]"),
    ],
)
def test_what_cannot_be_made_of_trees_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        require_exportable(ExportConfig(**changes), "boosting")
    require_exportable(ExportConfig(**changes), "mlp")


def test_trees_are_onnx_already() -> None:
    require_exportable(ExportConfig(formats=("onnx",)), "boosting")
    require_exportable(ExportConfig(), "boosting")


def test_what_is_not_installed_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"no ai-edge-litert and no tf2onnx\. .*\[export\]"):
        require_exportable(ExportConfig(formats=("litert", "onnx", "keras")), "cnn")
    require_exportable(ExportConfig(formats=("keras", "saved_model")), "cnn")
