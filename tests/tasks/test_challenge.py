import json
from types import SimpleNamespace

import numpy as np
import pytest

from tasks import challenge
from tasks.challenge import compare, rows_unseen
from tasks.config import GateConfig, SliceConfig
from tasks.judgement import Evaluation
from tasks.metrics import measure
from tasks.prover import Prediction
from tasks.registry import SPLIT
from tasks.slicing import measure_slices
from tasks.snapshots import read_snapshot
from tasks.storage import Storage

GATE = GateConfig(minimum_rows=1, slice_rows=1, slice_loss=0.02)


@pytest.fixture
def evaluated(context):
    """An evaluation that is right about every test row."""

    def make(prepared):
        storage = Storage(context.storage_uri)
        labels = storage.array(prepared.test.labels)
        found = np.eye(2, dtype=np.float32)[labels]
        with storage.workspace() as folder:
            np.save(folder / "predictions.npy", found)
            file = storage.put_file(folder / "predictions.npy")
        return Evaluation(
            rows=len(labels), metrics=measure("classification", labels, found), baselines={},
            predictions=file, pictures={}, report=file,
        )  # fmt: skip

    return make


def test_slices_are_compared_on_the_rows_that_the_champion_was_not_trained_on(
    context, prepare_table, evaluated, monkeypatch
):
    storage = Storage(context.storage_uri)
    theirs, prepared = prepare_table(seed=1), prepare_table(seed=2)
    evaluation = evaluated(prepared)
    config = SliceConfig(columns=("plan",))
    slices = measure_slices.fn(context, prepared, evaluation, config, GATE)
    rows = storage.array(prepared.test.rows)
    unseen = rows[rows_unseen(storage, prepared, rows, theirs.split)]
    plans = read_snapshot(storage, prepared.snapshot, ["plan"])["plan"].take(unseen).to_pylist()

    def predict(context, uri, snapshot, asked):
        assert np.array_equal(asked, unseen)
        always = np.tile(np.float32([1, 0]), (len(asked), 1))
        return Prediction(("probability_No", "probability_Yes"), always, 0.1, 0.1)

    monkeypatch.setattr(challenge.prover, "predict_registered", predict)
    registry = SimpleNamespace(
        version=lambda number: SimpleNamespace(tags={SPLIT: json.dumps(theirs.split)}),
        address=lambda number: f"models:/trial/{number}",
    )
    found = compare(context, registry, 1, prepared, evaluation, slices, GATE)
    assert {part.value: part.rows for part in found.slices} == {
        (plan or "(blank)"): plans.count(plan) for plan in set(plans)
    }
    assert found.rows == len(unseen) < prepared.test.count
    assert {part.challenger for part in found.slices} == {1.0}
    assert max(found.slices, key=lambda part: part.rows).champion < 1.0
    # nobody asks for what no rule is about
    unasked = GATE.model_copy(update={"slice_loss": None})
    assert compare(context, registry, 1, prepared, evaluation, slices, unasked).slices == ()
