"""What a trained model looks at: columns, pixels and tokens that decide its predictions."""

import time

import numpy as np
from numpy.typing import NDArray

from tasks import explanation_pictures as pictures
from tasks import layers
from tasks.appraisal import Explanation, Importance, LayerActivation
from tasks.asking import ask_test_rows, some_rows
from tasks.config import ExplanationConfig, GateConfig
from tasks.explaining import Asked, Explained, Model, explain_rows, open_model
from tasks.handoffs import PreparedData, RunContext
from tasks.importance import Scored, column_groups, permutation_importances
from tasks.judgement import Evaluation, TrainedModel
from tasks.judging import JudgedRows, open_rows
from tasks.stages import stage
from tasks.storage import Storage


@stage(
    code=(
        "tasks.asking",
        "tasks.attribution",
        "tasks.canvas",
        "tasks.columns",
        "tasks.explained_rows",
        "tasks.explaining",
        "tasks.explanation_pictures",
        "tasks.features",
        "tasks.importance",
        "tasks.judging",
        "tasks.layers",
        "tasks.metrics",
        "tasks.models.archive",
        "tasks.outputs",
        "tasks.raw_rows",
        "tasks.sequence_metrics",
        "tasks.snapshots",
        "tasks.texts",
    )
)
def explain_model(
    context: RunContext,
    prepared: PreparedData,
    trained: TrainedModel,
    evaluation: Evaluation,
    config: ExplanationConfig,
    gate: GateConfig,
) -> Explanation:
    """Explains the model as a whole, its most confident mistakes, and a few other test rows."""
    if not config.enabled:
        return Explanation(metric=gate.metric)
    started, storage = time.perf_counter(), Storage(context.storage_uri)
    tested = open_rows(storage, prepared, prepared.test)
    model = open_model(storage.path(trained.network), tested.fitted)
    predictions = storage.array(evaluation.predictions)
    asked = ask_test_rows(storage, prepared, tested, predictions, config)
    background: NDArray[np.float32] | None = None
    importances: tuple[Importance, ...] = ()
    if prepared.kind == "table":
        others = storage.array(prepared.train.inputs, is_mapped=True)
        background = some_rows(others, config.steps)
        importances = _importances(model, prepared, tested, config, gate.metric)
    explained = explain_rows(model, asked, config.steps, background)
    shown = asked.inputs[:1] if len(asked.inputs) else np.asarray(tested.inputs[:1])
    active = layers.activations(model.network, shown) if model.network is not None else {}
    drawn = _drawn(prepared, explained, asked, active)
    if importances:
        drawn["importances.png"] = pictures.importance_bars(importances, gate.metric)
    sheet = {"picture": "attributions.png"} if "attributions.png" in drawn else {}
    found = Explanation(
        metric=gate.metric,
        importances=importances,
        rows=tuple(row.model_copy(update=sheet) for row in explained.rows),
        activations=_in_figures(active),
        notes=_notes(prepared),
    )
    told = found.model_dump_json(indent=2, exclude={"pictures", "report", "seconds"})
    return found.model_copy(
        update={
            "pictures": {name: storage.put_bytes(png, ".png") for name, png in drawn.items()},
            "report": storage.put_bytes(told.encode(), ".json"),
            "seconds": time.perf_counter() - started,
        }
    )


def _importances(
    model: Model,
    prepared: PreparedData,
    tested: JudgedRows,
    config: ExplanationConfig,
    metric: str,
) -> tuple[Importance, ...]:
    problem = prepared.snapshot.problem
    if problem not in {"classification", "regression"}:
        return ()
    rows = some_rows(np.arange(len(tested.truth)), config.sample_rows)
    scored = Scored(problem, metric, np.asarray(tested.inputs[rows]), tested.truth[rows])
    return permutation_importances(
        model.predict,
        scored,
        column_groups(tested.fitted),
        config.repeats,
    )


def _drawn(
    prepared: PreparedData,
    explained: Explained,
    asked: Asked,
    active: dict[str, NDArray[np.float32]],
) -> dict[str, bytes]:
    """The pictures of rows and of activations, by file name; none of personal images."""
    drawn = {}
    is_personal = any(column.personal for column in prepared.snapshot.features)
    if prepared.pixel_maximum is not None and is_personal:
        return {}
    if explained.rows:
        drawn["attributions.png"] = pictures.row_sheet(
            explained, asked.inputs, prepared.pixel_maximum, prepared.kind
        )
        if prepared.pixel_maximum is not None and active:
            drawn["activations.png"] = pictures.activation_maps(
                asked.inputs[0], prepared.pixel_maximum, active
            )
    return drawn


def _in_figures(active: dict[str, NDArray[np.float32]]) -> tuple[LayerActivation, ...]:
    return tuple(
        LayerActivation(
            layer=name,
            shape=values.shape,
            mean=float(values.mean()),
            maximum=float(values.max()),
            zeros=float(np.mean(values == 0)),
        )
        for name, values in active.items()
        if values.size
    )


def _notes(prepared: PreparedData) -> tuple[str, ...]:
    """Sentences on what is not shown, and why."""
    personal = [column.name for column in prepared.snapshot.features if column.personal]
    if not personal:
        return ()
    match prepared.kind:
        case "image":
            return ("The images are personal, so no picture of them is drawn.",)
        case "text":
            return ("The texts are personal, so their tokens are named by their places.",)
        case _:
            return (
                f"{len(personal)} columns are personal; in explained rows they are one part "
                "together, and their values are not shown.",
            )
