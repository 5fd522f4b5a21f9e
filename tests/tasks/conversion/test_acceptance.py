import math
from typing import Any

import pytest

from tasks.conversion.acceptance import judge, loss_of
from tasks.conversion.forms import Form
from tasks.conversion.workshop import Outcome

ORIGINAL = Outcome(Form("keras", is_original=True), size=100, metrics={"accuracy": 0.9, "mae": 2.0})
INT8 = Form("litert", "int8")


def judged(form: Form, metric: str = "accuracy", error: str = "", **measured: Any) -> Any:
    outcome = Outcome(form, size=50, latency=(0.1, 0.2), error=error, **measured)
    return judge(outcome, ORIGINAL, metric, maximum_loss=0.02, tolerance=1e-4)


@pytest.mark.parametrize(
    ("metric", "value", "original", "loss"),
    [
        ("accuracy", 0.81, 0.9, 0.1),
        ("accuracy", 0.99, 0.9, -0.1),
        ("mae", 2.2, 2.0, 0.1),
        ("mae", 1.8, 2.0, -0.1),
        ("r2", -0.6, -0.5, 0.2),
        ("mae", 0.0, 0.0, 0.0),
        ("mae", 0.1, 0.0, math.inf),
    ],
)
def test_a_loss_is_a_share_of_the_originals_figure(
    metric: str, value: float, original: float, loss: float
) -> None:
    assert loss_of(metric, value, original) == pytest.approx(loss)


@pytest.mark.parametrize(
    ("metric", "value", "kept"),
    [
        ("accuracy", 0.883, True),
        ("accuracy", 0.881, False),
        ("mae", 2.03, True),
        ("mae", 2.05, False),
    ],
)
def test_what_loses_more_than_is_allowed_is_refused(metric: str, value: float, kept: bool) -> None:
    found = judged(INT8, metric, metrics={metric: value})
    assert found.kept is kept
    assert found.reason.startswith("kept" if kept else "refused")
    assert (found.size, found.latency_median_ms) == (50, 0.1)


def test_a_refusal_says_the_figures_and_what_is_allowed() -> None:
    reason = judged(INT8, metrics={"accuracy": 0.81}).reason
    assert reason == (
        "refused with accuracy 0.8100, the original's is 0.9000, a loss of 10.00% where "
        "export.maximum_loss allows 2.00%"
    )


def test_a_plain_conversion_must_predict_the_same() -> None:
    found = judged(Form("onnx"), metrics={"accuracy": 0.9}, conversion=0.01)
    assert not found.kept
    assert "differ by up to 0.01 from those of the network" in found.reason
    assert judged(Form("onnx"), metrics={"accuracy": 0.9}, conversion=1e-5).kept
    assert judged(INT8, metrics={"accuracy": 0.9}, conversion=0.01).kept
    assert not judged(Form("onnx"), metrics={"accuracy": 0.9}, conversion=math.nan).kept


def test_a_metric_that_is_undefined_keeps_nothing() -> None:
    assert "undefined" in judged(INT8, metrics={}).reason
    assert not judged(INT8, metrics={"accuracy": math.nan}).kept


def test_what_could_not_be_made_has_its_reason_and_no_figures() -> None:
    found = judged(INT8, error="LiteRT has no operation for TensorFlow's While")
    assert found.reason == "could not be made: LiteRT has no operation for TensorFlow's While"
    assert (found.kept, found.size, found.latency_median_ms) == (False, 0, None)
