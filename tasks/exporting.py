"""The trained network in smaller and other forms, each measured against the original."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tasks.appraisal_config import ExportFormat
from tasks.config import ExportConfig, GateConfig, TrainingConfig
from tasks.conversion.acceptance import judge
from tasks.conversion.forms import FILES, Form, forms_of
from tasks.conversion.manual import describe_form
from tasks.conversion.pruning import pruned_network
from tasks.conversion.workshop import Outcome, make_forms
from tasks.exports import ExportedModel, Exports
from tasks.handoffs import PreparedData, RunContext, StoredFile
from tasks.judgement import Evaluation, TrainedModel
from tasks.stages import stage
from tasks.storage import Storage

logger = logging.getLogger(__name__)


@stage(
    code=(
        "tasks.columns",
        "tasks.conversion",
        "tasks.devices",
        "tasks.fitting",
        "tasks.judging",
        "tasks.metrics",
        "tasks.models",
        "tasks.network_training",
        "tasks.outputs",
        "tasks.sequence_metrics",
        "tasks.snapshots",
        "tasks.texts",
    )
)
def export_model(
    context: RunContext,
    prepared: PreparedData,
    trained: TrainedModel,
    evaluation: Evaluation,
    training: TrainingConfig,
    config: ExportConfig,
    gate: GateConfig,
) -> Exports:
    """Makes the forms that are asked for, and keeps those that lose no more than is allowed."""
    storage = Storage(context.storage_uri)
    original: ExportFormat = "keras" if trained.suffix == ".keras" else "onnx"
    forms = forms_of(config, original)
    if not forms:
        return Exports(metric=gate.metric)
    found: list[ExportedModel] = []
    with storage.workspace() as folder:
        networks, obstacle = {"original": storage.path(trained.network)}, ""
        if config.pruning:
            networks["pruned"], obstacle = _pruned(storage, prepared, trained, training, config)
        first: Outcome | None = None
        for outcome in _outcomes(forms, networks, obstacle, prepared, storage, folder):
            first = first or outcome
            measured = judge(outcome, first, gate.metric, config.maximum_loss, evaluation.tolerance)
            found.append(_with_files(measured, outcome, prepared, context.pipeline, storage))
            _tell(measured)
    table = [form.model_dump(mode="json", exclude={"files"}) for form in found]
    report = {"metric": gate.metric, "rows": prepared.test.count, "forms": table}
    return Exports(
        metric=gate.metric,
        forms=tuple(found),
        report=storage.put_bytes(json.dumps(report, indent=2).encode(), ".json"),
    )


def _pruned(
    storage: Storage,
    prepared: PreparedData,
    trained: TrainedModel,
    training: TrainingConfig,
    config: ExportConfig,
) -> tuple[Path, str]:
    """The pruned network's file, and why there is none, as a part of a sentence."""
    from tasks.fitting import DivergedError

    try:
        file = pruned_network(storage, prepared, trained, training, config)
    except DivergedError as error:
        return Path(), f"fine-tuning after pruning was stopped: {error}"
    return storage.path(file), ""


def _outcomes(
    forms: Sequence[Form],
    networks: Mapping[str, Path],
    obstacle: str,
    prepared: PreparedData,
    storage: Storage,
    folder: Path,
) -> Iterator[Outcome]:
    """What becomes of each form, in order; where there is an obstacle, no pruned one is made."""
    possible = [form for form in forms if not (obstacle and form.pruned)]
    made = make_forms(possible, networks, prepared, storage.uri, folder)
    for form in forms:
        yield next(made) if form in possible else Outcome(form=form, error=obstacle)


def _with_files(
    measured: ExportedModel,
    outcome: Outcome,
    prepared: PreparedData,
    pipeline: str,
    storage: Storage,
) -> ExportedModel:
    """A form with the files that a person needs to use it, where it is kept."""
    form = outcome.form
    if outcome.path is None or form.is_original or not measured.kept:
        return measured
    manual = describe_form(form, measured, prepared, pipeline)
    files: dict[str, StoredFile] = {
        FILES[form.format]: storage.put_file(outcome.path),
        "preprocessing.json": prepared.preprocessing,
        "README.md": storage.put_bytes(manual.encode(), ".md"),
    }
    return measured.model_copy(update={"files": files})


def _tell(measured: ExportedModel) -> None:
    level = logging.INFO if measured.kept else logging.WARNING
    logger.log(level, "Export: %s", measured.sentence)
