"""The network, its preprocessing and its code as one MLflow model that takes raw rows."""

import logging
import shutil
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import generation
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import Package, TrainedModel
from tasks.outputs import value_columns
from tasks.stages import stage
from tasks.storage import Storage

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, Schema

CODE_FOLDER = Path(__file__).resolve().parent
SERVER_NEEDS = ("mlflow", "numpy", "pandas")
NETWORK_NEEDS = ("keras", "tensorflow")
logger = logging.getLogger(__name__)


def server_requirements(
    further: tuple[str, ...] = (), *, is_network: bool = True
) -> tuple[str, ...]:
    """What a server has to install, pinned to what is installed here.

    A local label such as `+cu128` is left out: no public index has such a version.

    Args:
        further: Distributions that the model needs besides the usual.
        is_network: Whether it is one; another estimator is loaded without Keras.
    """
    names = (*SERVER_NEEDS, *(NETWORK_NEEDS if is_network else ()), *further)
    return tuple(f"{name}=={metadata.version(name).partition('+')[0]}" for name in names)


def model_signature(prepared: PreparedData) -> "ModelSignature":
    """What the package takes and gives.

    Every feature column is required, so MLflow refuses a frame that lacks one; a blank is allowed
    in each, as NaN in a numeric column (double) and as None in a category (string).

    Args:
        prepared: Gives the columns and the classes.
    """
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    if prepared.kind == "image":
        shape = (-1, *prepared.input_shape)
        inputs = Schema([TensorSpec(np.dtype("uint8"), shape)])
    else:
        types = {"numeric": DataType.double}
        inputs = Schema(
            [
                ColSpec(types.get(column.kind, DataType.string), column.name)
                for column in prepared.snapshot.features
            ]
        )
    return ModelSignature(inputs=inputs, outputs=_given(prepared), params=_asked(prepared))


def _given(prepared: PreparedData) -> "Schema":
    """The columns that a package gives, as `tasks.outputs` makes them."""
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array, Object, Property

    problem = prepared.snapshot.problem
    is_text = prepared.classes or problem == "text_generation"
    columns = [ColSpec(DataType.string if is_text else DataType.float, "prediction")]
    if problem == "token_classification":
        words = {"first_word": DataType.long, "last_word": DataType.long}
        entity = {"text": DataType.string, "type": DataType.string, **words}
        kinds = [Property(name, kind) for name, kind in entity.items()]
        columns.append(ColSpec(Array(Object(kinds)), "entities"))
    is_sequence = problem in {"token_classification", "text_generation"}
    number = Array(DataType.double) if is_sequence else DataType.float
    names = value_columns(problem, prepared.classes)
    columns += [ColSpec(number, name) for name in names if name != "prediction"]
    return Schema(columns)


def _asked(prepared: PreparedData) -> "ParamSchema | None":
    """What can be asked for besides the rows: how a text goes on."""
    if prepared.snapshot.problem != "text_generation":
        return None
    from mlflow.types import ParamSchema, ParamSpec

    most = generation.most_new_tokens(prepared.input_shape[0])
    return ParamSchema(
        [
            ParamSpec("max_new_tokens", "long", most),
            ParamSpec("temperature", "double", generation.TEMPERATURE),
            ParamSpec("seed", "long", generation.SEED),
        ]
    )


def input_example(prepared: PreparedData) -> "np.ndarray | pd.DataFrame":
    """A made-up row, so that no value of a real one leaves the storage: zeros, and blanks.

    Args:
        prepared: Gives the columns.
    """
    import numpy as np
    import pandas as pd

    if prepared.kind == "image":
        return np.zeros((1, *prepared.input_shape), np.uint8)
    row = {c.name: 0.0 if c.kind == "numeric" else "" for c in prepared.snapshot.features}
    return pd.DataFrame([row])


def save_package(
    folder: Path,
    prepared: PreparedData,
    network: Path,
    preprocessing: Path,
    requirements: tuple[str, ...],
) -> None:
    """Writes the MLflow model.

    Args:
        folder: A scratch folder; the model becomes its folder `model`.
        prepared: Gives the columns and the classes.
        network: The `.keras` or `.onnx` file.
        preprocessing: What was fitted, as JSON.
        requirements: What a server has to install.
    """
    from mlflow import pyfunc
    from mlflow.models import Model

    parts = folder / "parts"
    parts.mkdir()
    shutil.copyfile(network, parts / f"network{network.suffix}")
    shutil.copyfile(preprocessing, parts / "preprocessing.json")
    modules = ["outputs", "texts" if prepared.kind == "text" else "features"]
    if prepared.snapshot.problem == "text_generation":
        modules.append("generation")
    if any(column.protection != "none" for column in prepared.snapshot.features):
        modules += ["treatments", "masking"]
    for module in modules:
        shutil.copyfile(CODE_FOLDER / f"{module}.py", parts / f"{module}.py")
    artifacts = {path.stem: str(path) for path in sorted(parts.iterdir())}
    model = Model()
    pyfunc.save_model(
        path=folder / "model",
        mlflow_model=model,
        python_model=str(CODE_FOLDER / "served.py"),
        artifacts=artifacts,
        signature=model_signature(prepared),
        input_example=input_example(prepared),
        pip_requirements=list(requirements),
        # a folder without a project: else MLflow exports the uv project of the working folder
        uv_project_path=str(parts),
    )
    _forget_places(model, folder / "model")


@stage(
    code=(
        "tasks.served",
        "tasks.features",
        "tasks.generation",
        "tasks.masking",
        "tasks.outputs",
        "tasks.texts",
        "tasks.treatments",
    )
)
def package_model(context: RunContext, prepared: PreparedData, trained: TrainedModel) -> Package:
    """Saves the MLflow model and stores its files."""
    storage = Storage(context.storage_uri)
    texts = ("tokenizers",) if prepared.kind == "text" else ()
    is_network = trained.suffix == ".keras"
    requirements = server_requirements((*trained.libraries, *texts), is_network=is_network)
    network, preprocessing = map(storage.path, (trained.network, prepared.preprocessing))
    with storage.workspace() as folder:
        save_package(folder, prepared, network, preprocessing, requirements)
        root = folder / "model"
        paths = sorted(path for path in root.rglob("*") if path.is_file())
        files = {
            path.relative_to(root).as_posix(): storage.put_file(path)
            for path in paths
            if path.suffix != ".pyc"
        }
    return Package(
        files=files,
        requirements=requirements,
        size=sum(file.size for file in files.values()),
    )


def _forget_places(model: Any, folder: Path) -> None:
    """Replaces the paths of this machine, which MLflow notes down and never reads, by names."""
    from mlflow import pyfunc

    flavor = model.flavors[pyfunc.FLAVOR_NAME]
    flavor["model_code_path"] = "served.py"
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    model.save(folder / "MLmodel")
