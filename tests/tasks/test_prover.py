import subprocess
import sys

import numpy as np
import psutil
import pytest

from tasks import prover, tracking
from tasks.errors import ProofFailed, ServiceError
from tasks.prover import Prover, predict_registered
from tasks.settings import PROJECT_FOLDER
from tasks.storage import Storage

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
    # it says nothing of the model, so it is asked again and no verdict comes of it
    with pytest.raises(ServiceError, match=r"gave no answer within 0\.01 s"):
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


def test_a_pickled_model_is_refused(context, prepare_table):
    import mlflow
    from mlflow.pyfunc import PythonModel

    class Pickled(PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input

    prepared, client = prepare_table(), tracking.client(context.mlflow_uri)
    with Storage(context.storage_uri).workspace() as folder:
        mlflow.pyfunc.save_model(folder / "model", python_model=Pickled(), pip_requirements=[])
        model = client.create_logged_model(context.experiment_id, "trial", context.run_id)
        client.log_model_artifacts(model.model_id, str(folder / "model"))
    client.create_registered_model("trial")
    client.create_model_version("trial", model.artifact_location, context.run_id)
    with pytest.raises(ProofFailed, match="using pickle is disallowed"):
        predict_registered(context, "models:/trial/1", prepared.snapshot, ROWS)
