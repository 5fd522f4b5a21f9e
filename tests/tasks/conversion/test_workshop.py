import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.conversion import workshop
from tasks.conversion.forms import Form
from tasks.conversion.workshop import make_forms

FORMS = [Form("keras"), Form("litert"), Form("onnx"), Form("saved_model")]
# stands for the process: it does not survive LiteRT, and cannot make ONNX
PROGRAM = """
import json, os, sys
job = json.loads(sys.stdin.readline())
with open(job["folder"] + "/log", "a") as log:
    log.write(",".join(form["format"] for form in job["forms"]) + "\\n")
for form in job["forms"]:
    if form["format"] == "litert":
        print("LLVM ERROR: out of ideas", file=sys.stderr, flush=True)
        os.abort()
    answer = {"path": form["format"], "size": 3, "zipped": 2, "metrics": {"accuracy": 0.5},
              "latency": [0.1, 0.2], "difference": 0.0, "conversion": 0.0}
    if form["format"] == "onnx":
        answer = {"error": "ValueError: no such\\n  operation."}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(workshop, "COMMAND", (sys.executable, "-c", PROGRAM))
    prepared: Any = SimpleNamespace(model_dump=lambda mode: {})
    return list(make_forms(FORMS, {"original": Path("n.keras")}, prepared, "storage", tmp_path))


def test_a_form_that_ends_the_process_costs_itself_only(outcomes: Any, tmp_path: Path) -> None:
    assert [outcome.form for outcome in outcomes] == FORMS
    assert [outcome.path for outcome in outcomes] == [
        Path("keras"),
        None,
        None,
        Path("saved_model"),
    ]
    assert outcomes[3].latency == (0.1, 0.2)
    assert (tmp_path / "log").read_text().split() == [
        "keras,litert,onnx,saved_model", "onnx,saved_model",
    ]  # fmt: skip


def test_why_a_form_could_not_be_made_is_one_line(outcomes: Any) -> None:
    assert outcomes[1].error.endswith("said last: LLVM ERROR: out of ideas")
    assert outcomes[2].error == "ValueError: no such operation"


def test_of_litert_the_operations_that_it_lacks_are_named() -> None:
    said = "error: loc(callsite(fused[\"TensorListReserve:\"])): 'tf.TensorListReserve' op requires"
    found = workshop._outcome(Form("litert"), {"error": said + 10 * " FlexErf"})
    assert found.error == "LiteRT has no operation for TensorFlow's TensorListReserve, Erf"
