"""The digits job as one plain script: the same libraries, the same work, nothing of Roundhouse.

Same rows, same checks, same network and epochs, same baselines and pictures, same MLflow logging
and registration. What it lacks is what Roundhouse is for: no stages, no reuse, no proof in a fresh
process, no Prefect. Usage: bare_digits.py HOME
"""

import json
import os
import sys
from pathlib import Path

os.environ.update(DO_NOT_TRACK="true", MLFLOW_DISABLE_TELEMETRY="true", TF_CPP_MIN_LOG_LEVEL="3")

import great_expectations as gx
import great_expectations.expectations as gxe
import keras
import matplotlib as mpl
import mlflow
import numpy as np
import pandas as pd
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView
from mlflow.models import ModelSignature
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.types import ColSpec, Schema, TensorSpec
from sklearn import metrics
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

mpl.use("Agg")
from matplotlib import pyplot as plt

EPOCHS = 20
HOME = Path(sys.argv[1])


def check(frame: pd.DataFrame) -> str:
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("digits").add_dataframe_asset("digits")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite("digits")
    suite.add_expectation(gxe.ExpectTableRowCountToBeBetween(min_value=360, max_value=1_000_000))
    suite.add_expectation(gxe.ExpectTableColumnsToMatchSet(column_set=list(frame.columns)))
    suite.add_expectation(gxe.ExpectColumnValuesToNotBeNull(column="digit"))
    suite.add_expectation(
        gxe.ExpectColumnValuesToBeInSet(column="digit", value_set=list("0123456789"))
    )
    suite.add_expectation(
        gxe.ExpectColumnDistinctValuesToContainSet(column="digit", value_set=list("0123456789"))
    )
    for statistic, (low, high) in {
        "image_minimum": (0, 16), "image_maximum": (0, 16), "image_mean": (0.1, 15),
        "image_std": (0.1, 16),
    }.items():  # fmt: skip
        suite.add_expectation(gxe.ExpectColumnValuesToNotBeNull(column=statistic))
        suite.add_expectation(
            gxe.ExpectColumnValuesToBeBetween(column=statistic, min_value=low, max_value=high)
        )
    result = batch.validate(suite, result_format="SUMMARY")
    if not result.success:
        sys.exit("checks failed")
    page = ValidationResultsPageRenderer(run_info_at_end=True).render(result)
    return str(DefaultJinjaPageView().render(page))


def figures(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    predicted = probabilities.argmax(1)
    one_hot = np.eye(10)[labels]
    macro = {"average": "macro", "zero_division": 0}
    confidence, right = probabilities.max(1), predicted == labels
    bins = np.clip((confidence * 10).astype(int), 0, 9)
    return {
        "accuracy": metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "precision_macro": metrics.precision_score(labels, predicted, **macro),
        "recall_macro": metrics.recall_score(labels, predicted, **macro),
        "f1_macro": metrics.f1_score(labels, predicted, **macro),
        "log_loss": metrics.log_loss(labels, probabilities),
        "roc_auc": metrics.roc_auc_score(labels, probabilities, multi_class="ovr"),
        "pr_auc": metrics.average_precision_score(one_hot, probabilities),
        "brier": float(((probabilities - one_hot) ** 2).sum(1).mean()),
        "calibration_error": float(
            sum(
                abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean()
                for b in np.unique(bins)
            )
        ),
    }


def draw(folder: Path, images, labels, probabilities, history) -> None:
    folder.mkdir()
    predicted = probabilities.argmax(1)
    metrics.ConfusionMatrixDisplay.from_predictions(labels, predicted)
    plt.savefig(folder / "confusion_matrix.png")
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.6))
    for digit in range(10):
        truth, score = labels == digit, probabilities[:, digit]
        metrics.RocCurveDisplay.from_predictions(truth, score, ax=axes[0], name=str(digit))
        metrics.PrecisionRecallDisplay.from_predictions(truth, score, ax=axes[1], name=str(digit))
    figure.savefig(folder / "roc_and_precision_recall.png")
    CalibrationDisplay.from_predictions(
        predicted == labels, probabilities.max(1), n_bins=10
    ).figure_.savefig(folder / "calibration.png")
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        axis.plot(history[name])
        axis.plot(history[f"val_{name}"])
    figure.savefig(folder / "learning_curves.png")
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-probabilities.max(1)[wrong])][:25]
    figure, axes = plt.subplots(1, max(2, len(worst)), figsize=(12, 2))
    for axis, row in zip(axes, worst, strict=False):
        axis.imshow(images[row], cmap="gray_r")
    figure.savefig(folder / "mistakes.png")


def main() -> None:
    HOME.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{HOME / 'mlflow.db'}")
    experiment = mlflow.create_experiment("digits", (HOME / "artifacts").as_uri())
    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target
    statistics = pd.DataFrame(
        {
            "digit": labels.astype(str),
            "image_minimum": images.min((1, 2)),
            "image_maximum": images.max((1, 2)),
            "image_mean": images.mean((1, 2)),
            "image_std": images.std((1, 2)),
        }
    )
    with mlflow.start_run(experiment_id=experiment, run_name="digits") as run:
        monitor = SystemMetricsMonitor(run.info.run_id)
        monitor.start()
        report = check(statistics)
        mlflow.log_text(report, "checks/index.html")
        train_x, test_x, train_y, test_y = train_test_split(
            images[..., None], labels, test_size=0.15, random_state=0
        )
        train_x, val_x, train_y, val_y = train_test_split(
            train_x, train_y, test_size=0.176, random_state=0
        )
        mlflow.log_params({"epochs": EPOCHS, "batch_size": 32, "learning_rate": 0.005, "seed": 0})
        mlflow.log_input(mlflow.data.from_pandas(statistics, name="digits"), context="training")
        keras.utils.set_random_seed(0)
        network = keras.Sequential(
            [
                keras.Input((8, 8, 1), dtype="uint8"),
                keras.layers.Rescaling(1 / 16),
                keras.layers.Flatten(),
                keras.layers.Dense(64, activation="relu"),
                keras.layers.Dropout(0.2),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )
        network.compile(
            keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        log_epoch = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: mlflow.log_metrics(logs, step=epoch + 1)
        )
        best = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
        history = network.fit(
            train_x, train_y, validation_data=(val_x, val_y), epochs=EPOCHS, batch_size=32,
            callbacks=[log_epoch, best], verbose=2,
        ).history  # fmt: skip
        probabilities = network.predict(test_x, verbose=0)
        flat = train_x.reshape(len(train_x), -1) / 16
        flat_test = test_x.reshape(len(test_x), -1) / 16
        linear = LogisticRegression(max_iter=100, tol=1e-3).fit(flat, train_y)
        majority = DummyClassifier(strategy="prior").fit(flat, train_y)
        mine = figures(test_y, probabilities)
        mlflow.log_metrics({f"test/{name}": value for name, value in mine.items()})
        for name, model in {"linear": linear, "majority": majority}.items():
            found = figures(test_y, model.predict_proba(flat_test))
            mlflow.log_metrics({f"baseline/{name}/{key}": value for key, value in found.items()})
        draw(HOME / "pictures", test_x[..., 0], test_y, probabilities, history)
        mlflow.log_artifacts(str(HOME / "pictures"), "pictures")
        mlflow.log_dict({"rows": len(images), "metrics": mine}, "lineage.json")
        network.save(HOME / "network.keras")
        (HOME / "contents.json").write_text(json.dumps({"classes": list("0123456789")}))
        probabilities_out = [ColSpec("float", f"probability_{digit}") for digit in range(10)]
        info = mlflow.pyfunc.log_model(
            name="digits",
            python_model=str(Path(__file__).with_name("bare_served.py")),
            artifacts={
                "network": str(HOME / "network.keras"),
                "contents": str(HOME / "contents.json"),
            },
            signature=ModelSignature(
                Schema([TensorSpec(np.dtype("uint8"), (-1, 8, 8, 1))]),
                Schema([ColSpec("string", "prediction"), *probabilities_out]),
            ),
            pip_requirements=["mlflow", "keras", "tensorflow", "numpy", "pandas"],
            registered_model_name="digits",
        )
        client = mlflow.MlflowClient()
        for alias in ("challenger", "champion"):
            client.set_registered_model_alias("digits", alias, info.registered_model_version)
        monitor.finish()
    print(json.dumps({"accuracy": mine["accuracy"]}))


main()
