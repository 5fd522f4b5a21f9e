"""Which pictures an evaluation gets: predictions in, PNGs out by their file names."""

from typing import Any

from numpy.typing import NDArray

from tasks import pictures
from tasks.columns import class_titles
from tasks.config import EvaluationConfig
from tasks.handoffs import PreparedData
from tasks.judgement import TrainedModel
from tasks.outputs import widened


def draw_pictures(
    prepared: PreparedData,
    trained: TrainedModel,
    inputs: NDArray[Any],
    truth: NDArray[Any],
    predictions: NDArray[Any],
    config: EvaluationConfig,
) -> dict[str, bytes]:
    """The pictures that suit the problem, by file name.

    Args:
        prepared: Gives the classes and the kind of data.
        trained: Gives the history.
        inputs: Test rows, [rows, ...].
        truth: What they are judged by, as `tasks.metrics.measure` takes it.
        predictions: For them, as `tasks.outputs` describes them.
        config: Bins and number of mistakes.
    """
    drawn, problem = {}, prepared.snapshot.problem
    if trained.history:
        drawn["learning_curves.png"] = pictures.learning_curves(trained.history, trained.best_epoch)
    label = prepared.snapshot.label
    if problem == "regression":
        if label.personal:
            return drawn
        drawn["predicted_against_true.png"] = pictures.predicted_against_true(truth, predictions)
    elif problem == "token_classification":
        words = truth >= 0
        found = widened(predictions, truth.shape[1])[:, : truth.shape[1]]
        drawn["confusion_matrix.png"] = pictures.confusion_matrix(
            truth[words],
            found[words].argmax(axis=1),
            class_titles(prepared.classes, is_personal=label.personal),
            "words of the test rows",
        )
    elif problem == "classification":
        drawn |= _of_classes(prepared, inputs, truth, predictions, config)
    return drawn


def _of_classes(
    prepared: PreparedData,
    inputs: NDArray[Any],
    labels: NDArray[Any],
    predictions: NDArray[Any],
    config: EvaluationConfig,
) -> dict[str, bytes]:
    is_personal = prepared.snapshot.label.personal
    classes, bins = class_titles(prepared.classes, is_personal=is_personal), config.calibration_bins
    drawn = {
        "confusion_matrix.png": pictures.confusion_matrix(labels, predictions.argmax(1), classes),
        "roc_and_precision_recall.png": pictures.roc_and_precision_recall(
            labels, predictions, classes
        ),
        "calibration.png": pictures.calibration(labels, predictions, bins),
    }
    is_drawn = not any(column.personal for column in prepared.snapshot.features)
    if prepared.pixel_maximum is not None and config.mistakes and is_drawn:
        drawn["mistakes.png"] = pictures.mistakes(
            inputs, labels, predictions, classes, prepared.pixel_maximum, config.mistakes
        )
    return drawn
