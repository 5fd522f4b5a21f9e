"""Small source files in the datasets' real formats."""

import gzip
import itertools
import struct
from pathlib import Path

import numpy as np
import pytest

from tasks.datasets import DATASETS

TELCO_ROWS = 120


def idx_bytes(array: np.ndarray) -> bytes:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def telco_row(number: int) -> list[str]:
    """One customer of the table; every 40th is new and has no total, every fourth leaves."""
    values = {
        "customerID": f"{number:04d}-ROUND",
        "gender": "Female" if number % 2 else "Male",
        "SeniorCitizen": str(int(number % 7 == 0)),
        "tenure": str(number % 72),
        "MonthlyCharges": f"{20 + number / 4:.2f}",
        "TotalCharges": " " if number % 40 == 0 else f"{20.5 * number:.2f}",
        "Contract": ("Month-to-month", "One year", "Two year")[number % 3],
        "Churn": "No" if number % 4 else "Yes",
    }
    other = "Yes" if number % 3 else "No"
    return [values.get(column.name, other) for column in DATASETS["telco_churn"].columns]


@pytest.fixture
def telco_lines() -> list[str]:
    """Header and rows of a small churn table."""
    header = [column.name for column in DATASETS["telco_churn"].columns]
    return [
        ",".join(cells) for cells in itertools.chain([header], map(telco_row, range(TELCO_ROWS)))
    ]


@pytest.fixture
def telco_csv(tmp_path: Path, telco_lines: list[str]) -> Path:
    """The small churn table where a location holds it."""
    path = tmp_path / "data" / "telco-churn" / "Telco-Customer-Churn.csv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(telco_lines) + "\n")
    return path


@pytest.fixture
def mnist_folder(tmp_path: Path) -> Path:
    """The four packed files with 200 training and 60 test images."""
    folder = tmp_path / "mnist-data"
    folder.mkdir()
    random = np.random.default_rng(0)
    for prefix, rows in (("train", 200), ("t10k", 60)):
        images = random.integers(0, 256, (rows, 28, 28))
        files = {"images-idx3": images, "labels-idx1": np.arange(rows) % 10}
        for kind, array in files.items():
            content = gzip.compress(idx_bytes(array), mtime=0)
            (folder / f"{prefix}-{kind}-ubyte.gz").write_bytes(content)
    return folder


# what the stages after training start from: a table, a network for it, a registered version


@pytest.fixture
def prepare_rows(context):
    """Splits a table and makes arrays of it, as a run does once its checks have passed."""
    from tasks.columns import arrow_schema
    from tasks.config import PreparationConfig, SplitConfig
    from tasks.handoffs import CheckedData, Snapshot
    from tasks.preprocessing import prepare_data
    from tasks.snapshots import write_snapshot
    from tasks.storage import Storage

    def make(columns, arrays, seed=0, problem=None, privacy_key="", **preparation):
        import pyarrow as pa

        plain = "regression" if columns[-1].kind == "numeric" else "classification"
        storage = Storage(context.storage_uri)
        with storage.workspace() as folder:
            table = pa.Table.from_arrays(arrays, schema=arrow_schema(columns))
            write_snapshot(table, folder / "snapshot.parquet")
            file = storage.put_file(folder / "snapshot.parquet")
        snapshot = Snapshot(
            dataset="customers",
            problem=problem or plain,
            file=file,
            rows=table.num_rows,
            columns=columns,
            source_digest="0" * 64,
            privacy_key=privacy_key,
        )
        checked = CheckedData(
            snapshot=snapshot, passed=1, warnings=(), total=1, report=file, data_docs=file
        )
        return prepare_data.fn(
            context, checked, SplitConfig(seed=seed),
            PreparationConfig(minimum_category_rows=1, **preparation),
        )  # fmt: skip

    return make


@pytest.fixture
def prepare_table(prepare_rows):
    """Prepares 400 customers; `seed` is the split's, `renamed` another name for `months`."""
    import pyarrow as pa

    from tasks.handoffs import Column

    def make(seed=0, renamed="months", problem="classification"):
        random, rows = np.random.default_rng(7), 400
        months = random.integers(1, 72, rows)
        plans = random.choice(["basic", "full"], rows)
        leaves = (months + 20 * (plans == "full") + random.normal(0, 12, rows)) < 35
        is_value = problem == "regression"
        label = months * 2.0 if is_value else np.where(leaves, "Yes", "No")
        columns = (
            Column(name="customer", role="identifier", kind="category", personal=True),
            Column(name=renamed, role="feature", kind="numeric", integer=True),
            Column(name="plan", role="feature", kind="category"),
            Column(name="left", role="label", kind="numeric" if is_value else "category"),
        )
        arrays = [
            pa.array([f"customer {number}" for number in range(rows)]),
            pa.array([None if n % 40 == 3 else int(m) for n, m in enumerate(months)], pa.int64()),
            pa.array([None if n % 50 == 7 else p for n, p in enumerate(plans)], pa.string()),
            pa.array(label.tolist()),
        ]
        return prepare_rows(columns, arrays, seed)

    return make


@pytest.fixture
def prepare_images(prepare_rows):
    """Prepares two hundred images of 2 x 2 pixels; the bright ones are `1`."""
    import pyarrow as pa

    from tasks.columns import as_pixels
    from tasks.handoffs import Column

    def make():
        columns = (
            Column(name="image", role="feature", kind="image", shape=(2, 2, 1), maximum=16),
            Column(name="digit", role="label", kind="category"),
        )
        pixels = np.random.default_rng(0).integers(0, 17, (200, 4)).astype(np.uint8)
        labels = pa.array(np.where(pixels.mean(axis=1) > 8, "1", "0").tolist())
        return prepare_rows(columns, [as_pixels(pixels), labels])

    return make


@pytest.fixture
def train_quickly(context):
    """A network with one layer; `skill` scales weights that fit, so 0 knows nothing and -1 errs."""
    import keras

    from tasks.judgement import Hardware, TrainedModel
    from tasks.storage import Storage

    def make(prepared, skill=1.0):
        storage = Storage(context.storage_uri)
        inputs = np.load(storage.path(prepared.train.inputs)).reshape(prepared.train.count, -1)
        labels = np.load(storage.path(prepared.train.labels))
        width, outputs = inputs.shape[1], len(prepared.classes) or 1
        is_image = prepared.kind == "image"
        layers = [keras.Input(prepared.input_shape, dtype="uint8" if is_image else "float32")]
        layers += [keras.layers.Rescaling(1.0), keras.layers.Flatten()] if is_image else []
        layers += [keras.layers.Dense(outputs, activation="softmax" if outputs > 1 else None)]
        network = keras.Sequential(layers)
        wanted = np.eye(outputs)[labels] if outputs > 1 else labels[:, None].astype(float)
        design = np.c_[inputs.astype(float), np.ones(len(inputs))]
        weights = np.linalg.lstsq(design, wanted, rcond=None)[0]
        scale = skill * (8 if outputs > 1 else 1)
        network.layers[-1].set_weights([scale * weights[:width], scale * weights[width]])
        with storage.workspace() as folder:
            network.save(folder / "network.keras")
            file = storage.put_file(folder / "network.keras")
        return TrainedModel(
            network=file,
            parameters=network.count_params(),
            history={"loss": (0.7, 0.5), "val_loss": (0.8, 0.6)},
            best_epoch=2,
            resumed_from=0,
            seconds=1.0,
            rows_per_second=100.0,
            seed=0,
            hardware=Hardware(
                backend="tensorflow", devices=("CPU x86_64",), precision="float32", cpu_count=2
            ),
            summary=storage.put_bytes(b"one layer", ".txt"),
        )

    return make


@pytest.fixture
def release(context, train_quickly):
    """Evaluates, packages and registers a quickly trained network, like a run up to its proof."""
    from types import SimpleNamespace

    from tasks.config import EvaluationConfig
    from tasks.evaluation import evaluate_model
    from tasks.freshness import Standing
    from tasks.packaging import package_model
    from tasks.registration import register_model

    def make(prepared, skill=1.0, fingerprint="a"):
        trained = train_quickly(prepared, skill)
        evaluation = evaluate_model.fn(context, prepared, trained, EvaluationConfig())
        package = package_model.fn(context, prepared, trained)
        standing = Standing(
            fingerprint=fingerprint * 64,
            parts={"source": "s", "configuration": "c"},
            up_to_date=False,
            reason="first training",
            sentence="to be trained: first training",
        )
        registered = register_model.fn(context, package, prepared, evaluation, standing)
        return SimpleNamespace(
            prepared=prepared, evaluation=evaluation, package=package, standing=standing,
            registered=registered,
        )  # fmt: skip

    return make
