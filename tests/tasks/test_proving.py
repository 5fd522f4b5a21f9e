"""Packages that are not fit to serve, each for one reason, and one that is."""

import pickle
from importlib import metadata

import numpy as np
import psutil
import pytest

from tasks import prover, tracking
from tasks.errors import ProofFailed
from tasks.judgement import RegisteredModel
from tasks.packaging import model_signature
from tasks.prover import prove_registered
from tasks.storage import Storage
from tasks.verification import verify_model

MODEL = """
import pickle, threading
import mlflow, numpy as np, pandas as pd

class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        {loading}

    def predict(self, context, model_input, params=None):
        rows, value = len(model_input), 0.5
        {predicting}
        return pd.DataFrame({{"probability_No": [value] * rows, "probability_Yes": [value] * rows}})

mlflow.models.set_model(Model())
"""
ROWS = np.arange(8)


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    path = tmp_path_factory.mktemp("objects") / "objects.bin"
    path.write_bytes(pickle.dumps(np.ones(2)))
    return path


@pytest.fixture
def register(context, tmp_path, objects):
    """Registers a model of a few lines of code, as anyone might."""
    import mlflow

    def make(prepared, loading="pass", predicting="pass", *, signed=True, further=()):
        code, client = tmp_path / "model.py", tracking.client(context.mlflow_uri)
        code.write_text(MODEL.format(loading=loading, predicting=predicting))
        names = ("mlflow", "numpy", "pandas")
        with Storage(context.storage_uri).workspace() as folder:
            mlflow.pyfunc.save_model(
                folder / "model",
                python_model=str(code),
                artifacts={"objects": str(objects)},
                signature=model_signature(prepared) if signed else None,
                pip_requirements=[*(f"{n}=={metadata.version(n)}" for n in names), *further],
                uv_project_path=str(tmp_path),
            )
            model = client.create_logged_model(context.experiment_id, "trial", context.run_id)
            client.log_model_artifacts(model.model_id, str(folder / "model"))
        client.create_registered_model("trial")
        client.create_model_version("trial", model.artifact_location, context.run_id)
        return RegisteredModel(name="trial", version=1, uri="models:/trial/1", fingerprint="a")

    return make


@pytest.mark.parametrize(
    ("options", "message"),
    [
        # psutil is there, and the process that loads has imported it itself
        ({"loading": "import psutil"}, r"needs psutil \(of psutil\), which its requirements"),
        ({"predicting": "import psutil"}, r"needs psutil \(of psutil\), which its requirements"),
        ({"loading": "import tasks.outputs"}, "needs tasks .*, which its requirements do not name"),
        ({"loading": "pickle.load(open(context.artifacts['objects'], 'rb'))"}, "unpickles numpy"),
        ({"signed": False}, "given a column missing and predicted it; .* names months"),
        (
            {"signed": False, "predicting": "model_input['months'] + 0"},
            "given a column missing and answered .* with a KeyError; .* names months",
        ),
        ({"further": ("psutil==0.1",)}, r"requires psutil==0\.1, and .* is installed"),
    ],
)
def test_a_package_that_cannot_serve_alone_is_refused(
    context, prepare_table, register, options, message
):
    prepared = prepare_table()
    registered = register(prepared, **options)
    with pytest.raises(ProofFailed, match=message) as caught:
        prove_registered(context, registered.uri, prepared.snapshot, ROWS)
    assert "customer 1" not in str(caught.value)


@pytest.mark.parametrize(
    ("odd", "way"),
    [
        ("if rows == 1: value = 0.25", "row by row"),
        (
            "if threading.current_thread() is not threading.main_thread(): value = 0.25",
            "over HTTP",
        ),
    ],
)
def test_other_predictions_in_one_way_are_found(
    context, prepare_table, release, register, odd, way
):
    made = release(prepare_table())
    client = tracking.client(context.mlflow_uri)
    client.delete_registered_model("trial")
    registered, storage = register(made.prepared, predicting=odd), Storage(context.storage_uri)
    with storage.workspace() as folder:
        np.save(folder / "half.npy", np.full((made.evaluation.rows, 2), 0.5, np.float32))
        half = {"predictions": storage.put_file(folder / "half.npy")}
    evaluation = made.evaluation.model_copy(update=half)
    with pytest.raises(ProofFailed, match=rf"asked {way}, predicts other .* difference is 0\.25"):
        verify_model.fn(context, registered, made.prepared, evaluation)
    assert "roundhouse.proof" not in client.get_model_version("trial", "1").tags


@pytest.mark.parametrize("kind", ["table", "image"])
def test_a_version_that_serves_is_measured_in_every_way(
    context, prepare_table, prepare_images, release, kind
):
    made = release(prepare_table() if kind == "table" else prepare_images())
    proof = verify_model.fn(context, made.registered, made.prepared, made.evaluation)
    assert proof.requirements == made.package.requirements
    assert proof.distributions > len(proof.requirements)
    assert proof.served_rows == 16
    assert proof.refusal_status == 400
    assert proof.refused_rows == (4 if kind == "table" else 2)
    assert proof.latency_rows == proof.rows - 5
    assert 0 < proof.latency_median_ms <= proof.latency_p99_ms
    assert 0 <= proof.memory_bytes < 2**30


def test_the_scoring_server_is_gone_afterwards(context, prepare_table, register):
    prepared = prepare_table()
    found = prove_registered(context, register(prepared).uri, prepared.snapshot, ROWS)
    assert found.served.tolist() == [[0.5, 0.5]] * len(ROWS)
    assert found.figures["served_seconds"] > 0
    process = psutil.Process(prover._shared.get(context.mlflow_uri).process_id)
    assert [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN] == []
