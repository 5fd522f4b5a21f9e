from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tasks.settings import PROJECT_FOLDER
from tasks.storage import Storage


@pytest.fixture
def serve(context, tmp_path, train_quickly):
    """The served model itself, on the artefacts that a package would hold."""
    from tasks.served import ServedModel

    def run(prepared):
        storage = Storage(context.storage_uri)
        (tmp_path / "network.keras").write_bytes(
            storage.read_bytes(train_quickly(prepared).network)
        )
        paths = {
            "network": tmp_path / "network.keras",
            "features": PROJECT_FOLDER / "tasks" / "features.py",
            "preprocessing": storage.path(prepared.preprocessing),
            "outputs": PROJECT_FOLDER / "tasks" / "outputs.py",
        }
        model = ServedModel()
        model.load_context(SimpleNamespace(artifacts={k: str(v) for k, v in paths.items()}))
        return model

    return run


def test_a_label_is_the_most_probable_one(serve, prepare_table):
    frame = pd.DataFrame({"months": [1.0, 70.0], "plan": ["basic", "full"]}, index=[8, 3])
    found = serve(prepare_table()).predict(None, frame)
    assert found["prediction"].tolist() == ["Yes", "No"]
    assert found.index.tolist() == [8, 3]


def test_a_regression_gives_values_alone(serve, prepare_table):
    frame = pd.DataFrame({"months": [10.0, 60.0], "plan": ["basic", None]})
    found = serve(prepare_table(problem="regression")).predict(None, frame)
    assert found["prediction"].tolist() == pytest.approx([20, 120], abs=3)


def test_images_are_taken_as_they_are(serve, prepare_images):
    images = np.stack([np.zeros((2, 2, 1)), np.full((2, 2, 1), 16)]).astype(np.uint8)
    found = serve(prepare_images()).predict(None, images)
    assert found["prediction"].tolist() == ["0", "1"]


def test_feature_code_that_is_no_code_is_refused(tmp_path):
    from tasks.served import _module

    with pytest.raises(ImportError, match="is not a Python file"):
        _module(tmp_path / "features.txt")
