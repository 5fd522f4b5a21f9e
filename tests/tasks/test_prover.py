import subprocess
import sys

import numpy as np
import psutil
import pytest

from tasks import prover
from tasks.errors import ProofFailed
from tasks.prover import Prover, predict_registered
from tasks.settings import PROJECT_FOLDER

ROWS = np.array([0, 5, 9])


def test_it_predicts_raw_rows_without_pickle(context, prepare_table, release):
    made = release(prepare_table())
    found = predict_registered(context, made.registered.uri, made.prepared.snapshot, ROWS)
    assert found.columns == ("probability_No", "probability_Yes")
    assert found.values.shape == (3, 2)
    assert found.values.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_a_missing_column_is_refused_without_showing_rows(context, prepare_table, release):
    made = release(prepare_table())
    snapshot = made.prepared.snapshot
    fewer = tuple(column for column in snapshot.columns if column.name != "months")
    with pytest.raises(ProofFailed, match=r"Model is missing inputs \['months'\]") as caught:
        predict_registered(
            context,
            made.registered.uri,
            snapshot.model_copy(update={"columns": fewer}),
            ROWS,
        )
    assert "basic" not in str(caught.value)


def test_an_unknown_version_is_one_sentence(context, prepare_table):
    snapshot = prepare_table().snapshot
    with pytest.raises(ProofFailed, match="could not predict with models:/trial/9"):
        predict_registered(context, "models:/trial/9", snapshot, ROWS)


def test_warming_twice_starts_one_process(context):
    prover.warm(context.mlflow_uri)
    first = prover._shared.get(context.mlflow_uri).process_id
    prover.warm(context.mlflow_uri)
    assert prover._shared.get(context.mlflow_uri).process_id == first


def test_a_process_that_ended_is_replaced(context, prepare_table, release):
    made = release(prepare_table())
    process = psutil.Process(prover._shared.get(context.mlflow_uri).process_id)
    process.kill()
    process.wait(timeout=30)
    found = predict_registered(context, made.registered.uri, made.prepared.snapshot, ROWS)
    assert len(found.values) == 3


def test_a_process_that_says_nothing_is_ended(context):
    slow = Prover(context.mlflow_uri)
    with pytest.raises(ProofFailed, match=r"gave no answer within 0\.01 s"):
        slow.ask({"uri": "models:/trial/1"}, timeout_seconds=0.01)
    assert not slow.is_alive
    slow.close()


def test_it_ends_with_the_process_that_started_it(context):
    code = (
        "import os, time; from tasks.prover import Prover; "
        f"print(Prover({context.mlflow_uri!r}).process_id, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=PROJECT_FOLDER, text=True
    )
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    child.wait(timeout=60)
