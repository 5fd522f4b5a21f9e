import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tasks import exporting, tracking
from tasks.config import EvaluationConfig, ExportConfig, GateConfig, TrainingConfig
from tasks.conversion.process import Bench
from tasks.conversion.runtimes import open_form
from tasks.conversion.workshop import Outcome
from tasks.evaluation import evaluate_model
from tasks.evidence import evidence_of, outcome_of
from tasks.exporting import export_model
from tasks.fitting import DivergedError
from tasks.handoffs import RunContext
from tasks.storage import Storage

TRAINING, GATE = TrainingConfig(batch_size=16, learning_rate=0.001), GateConfig()


@pytest.fixture
def made(context: RunContext, prepare_images: Any, train_quickly: Any) -> SimpleNamespace:
    prepared = prepare_images()
    trained = train_quickly(prepared)
    evaluation = evaluate_model.fn(context, prepared, trained, EvaluationConfig())
    return SimpleNamespace(prepared=prepared, trained=trained, evaluation=evaluation)


def exported(context: RunContext, made: SimpleNamespace, **changes: Any) -> Any:
    config = ExportConfig(**changes)
    return export_model.fn(
        context, made.prepared, made.trained, made.evaluation, TRAINING, config, GATE
    )


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forms are made in this process, which has the libraries already."""

    def make(forms: Any, networks: Any, prepared: Any, uri: str, folder: Path) -> Any:
        bench = Bench(
            {
                "storage_uri": uri,
                "prepared": prepared.model_dump(mode="json"),
                "networks": {name: str(path) for name, path in networks.items()},
                "folder": str(folder),
            }
        )
        for form in forms:
            answer = bench.make(form)
            yield Outcome(form=form, **{**answer, "path": Path(answer["path"])})

    monkeypatch.setattr(exporting, "make_forms", make)


def test_where_nothing_is_asked_for_nothing_is_made(
    context: RunContext, made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "make_forms", None)
    monkeypatch.setattr(exporting, "pruned_network", None)
    exports = exported(context, made)
    assert (exports.forms, exports.report) == ((), None)
    assert evidence_of(exports, with_history=False).files == {}


def test_a_process_of_its_own_makes_and_measures_what_a_person_can_use(
    context: RunContext, made: SimpleNamespace, tmp_path: Path
) -> None:
    exports = exported(context, made, formats=("litert", "onnx"))
    original, litert, onnx = exports.forms
    assert original.metrics["accuracy"] == made.evaluation.metrics["accuracy"]
    assert original.largest_difference < 1e-6
    assert not original.files
    storage = Storage(context.storage_uri)
    inputs = storage.array(made.prepared.test.inputs)
    expected = storage.array(made.evaluation.predictions)
    for form, name in ((litert, "model.tflite"), (onnx, "model.onnx")):
        assert form.kept, form.reason
        assert form.largest_difference < 1e-4
        assert 0 < form.latency_median_ms <= form.latency_p99_ms
        path = storage.path(form.files[name])
        assert form.size == path.stat().st_size > form.zipped > 0
        found = open_form(path, form.form)(inputs)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert form.files["preprocessing.json"] == made.prepared.preprocessing
        manual = storage.read_bytes(form.files["README.md"]).decode()
        assert "In: uint8 [rows, 2, 2, 1], pixels" in manual
        assert name in manual
    run = tracking.client(context.mlflow_uri).get_run(context.run_id)
    assert run.data.metrics["export/litert/size_bytes"] == litert.size
    assert run.data.metrics["export/onnx/accuracy"] == onnx.metrics["accuracy"]
    kept = tracking.client(context.mlflow_uri).list_artifacts(context.run_id, "exports/onnx")
    assert [Path(file.path).name for file in kept] == [
        "README.md", "model.onnx", "preprocessing.json",
    ]  # fmt: skip
    assert outcome_of(exports) == "2 of 2 forms kept"


@pytest.mark.usefixtures("here")
def test_what_loses_too_much_is_refused_and_its_file_is_not_kept(
    context: RunContext, made: SimpleNamespace
) -> None:
    changes = {"pruning": 0.99, "fine_tuning_epochs": 0, "quantisation": "float16"}
    exports = exported(context, made, **changes)
    assert [form.form for form in exports.forms] == [
        "original", "keras pruned", "keras pruned float16",
    ]  # fmt: skip
    for form in exports.made:
        assert not form.kept
        assert "export.maximum_loss allows 1.00%" in form.reason
        assert form.files == {}
        assert form.size > 0
    assert outcome_of(exports) == "0 of 2 forms kept"
    table = json.loads(Storage(context.storage_uri).read_bytes(exports.report))
    assert table["forms"][1]["loss"] > 0.01
    assert [*evidence_of(exports, with_history=False).files] == ["exports.json"]


@pytest.mark.usefixtures("here")
def test_a_pruned_network_is_trained_on_and_keeps_its_zeros(
    context: RunContext, made: SimpleNamespace
) -> None:
    from tasks.models.archive import open_network

    exports = exported(context, made, pruning=0.5, fine_tuning_epochs=2, maximum_loss=0.99)
    path = Storage(context.storage_uri).path(exports.forms[1].files["model.keras"])
    kernel, before = (
        np.asarray(open_network(file).layers[-1].kernel)
        for file in (path, Storage(context.storage_uri).path(made.trained.network))
    )
    assert (kernel == 0).mean() == 0.5
    assert (kernel != before)[kernel != 0].all()


@pytest.mark.usefixtures("here")
def test_a_fine_tuning_that_diverges_costs_the_pruned_forms_only(
    context: RunContext, made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: Any) -> None:
        raise DivergedError("loss is nan after epoch 1")

    monkeypatch.setattr(exporting, "pruned_network", diverge)
    original, pruned = exported(context, made, pruning=0.5).forms
    assert original.metrics
    assert pruned.reason.startswith("could not be made: fine-tuning after pruning was stopped")
