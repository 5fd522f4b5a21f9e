"""What all tests share: a clean environment, a run to work in, and the real command."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.handoffs import RunContext

CLEANED = ("ROUNDHOUSE_", "MLFLOW_", "PREFECT_")
# read before the environment is cleaned: where the slow tests find the whole of the data
DATA_DIR = os.environ.get("ROUNDHOUSE_DATA_DIR")
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(CLEANED):
            monkeypatch.delenv(name)
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables, made once: the migrations take seconds."""
    from tasks import tracking

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    tracking.client(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def context(tmp_path: Path, mlflow_database: Path) -> RunContext:
    """An open run on databases and a storage of its own."""
    from tasks import tracking

    shutil.copyfile(mlflow_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    experiment_id = tracking.open_experiment(uri, "trial", tmp_path / "artifacts")
    run_id = tracking.client(uri).create_run(experiment_id, run_name="trial").info.run_id
    return RunContext(
        pipeline="trial",
        run_id=run_id,
        experiment_id=experiment_id,
        mlflow_uri=uri,
        mlflow_pages="http://127.0.0.1:5000",
        storage_uri=str(tmp_path / "storage"),
    )


@dataclass
class Roundhouse:
    """The real command on a home of its own.

    Args:
        home: Its home.
        environment: Further variables.
    """

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(
        self, *arguments: str, wrapper: Sequence[str] = (), **variables: str
    ) -> "subprocess.Popen[str]":
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(CLEANED)}
        return subprocess.Popen(
            [*wrapper, Path(sys.executable).with_name("roundhouse"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home.parent,
            env={
                **inherited,
                "COLUMNS": "120",
                "ROUNDHOUSE_HOME": str(self.home),
                **self.environment,
                **variables,
            },
        )

    def __call__(
        self, *arguments: str, wrapper: Sequence[str] = (), **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        process = self.start(*arguments, wrapper=wrapper, **variables)
        out, error = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, out, error)

    @property
    def client(self) -> Any:
        """A client for the home's own MLflow database."""
        from tasks import tracking

        return tracking.client(f"sqlite:///{self.home / 'mlflow.db'}")

    def runs(self, pipeline: str) -> list[Any]:
        """The pipeline's MLflow runs, newest first."""
        experiment = self.client.get_experiment_by_name(pipeline)
        if experiment is None:
            return []
        return list(
            self.client.search_runs([experiment.experiment_id], order_by=["start_time DESC"])
        )

    def registry(self) -> list[tuple[str, int, dict[str, int]]]:
        """Every model version with the aliases of its model."""
        return [
            (model.name, int(version.version), {k: int(v) for k, v in model.aliases.items()})
            for model in self.client.search_registered_models()
            for version in self.client.search_model_versions(f"name = '{model.name}'")
        ]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Prefect API, for all tests that need none of their own."""
    from infra.databases import prepare_databases
    from infra.embedded import EmbeddedServer
    from infra.environment import EMBEDDED, environment
    from tasks.settings import Settings

    settings = Settings(home=tmp_path_factory.mktemp("prefect"))
    prepare_databases(settings)
    values = {**environment(settings), **EMBEDDED}
    with EmbeddedServer(values, settings.home_folder / "server.log") as server:
        server.start()
        server.wait()
        yield server.api_url


@pytest.fixture(scope="session")
def roundhouse_at() -> Callable[..., Roundhouse]:
    """Makes the real command on a home: (home, **variables) -> Roundhouse."""
    return lambda home, **variables: Roundhouse(home, variables)


@pytest.fixture
def roundhouse(tmp_path: Path) -> Roundhouse:
    """The real command on a fresh home."""
    return Roundhouse(tmp_path / "home")


@pytest.fixture(scope="session")
def first_digits(roundhouse_at: Callable[..., Roundhouse], tmp_path_factory: Any) -> Any:
    """The command after `roundhouse run digits` on a fresh home; what it printed is `.done`."""
    command: Any = roundhouse_at(tmp_path_factory.mktemp("first") / "home")
    command.done = command("run", "digits")
    assert command.done.returncode == 0, command.done.stderr
    return command


@pytest.fixture(scope="session")
def data_dir() -> str | None:
    """ROUNDHOUSE_DATA_DIR of the environment that pytest was started in."""
    return DATA_DIR


@pytest.fixture(scope="session")
def real_data(data_dir: str | None) -> Callable[[str], Path]:
    """A folder of real data by name; the test skips where the variable names no such folder."""

    def find(folder: str) -> Path:
        if not (data_dir and Path(data_dir, folder).is_dir()):
            pytest.skip(f"needs ROUNDHOUSE_DATA_DIR to name a folder that holds {folder}/")
        return Path(data_dir, folder)

    return find


@pytest.fixture(scope="session")
def telco() -> Callable[..., Any]:
    """Makes a frame with the columns of the telco dataset: (rows, seed) -> pandas.DataFrame."""
    import numpy as np
    import pandas as pd

    def make(rows: int = 400, seed: int = 0) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        yes_no = lambda share=0.5: np.where(random.random(rows) < share, "Yes", "No")  # noqa: E731
        tenure = random.integers(1, 72, rows)
        monthly = random.uniform(20, 118, rows).round(2)
        leaves = random.random(rows) < 0.75 * np.exp(-tenure / 18) + 0.08
        internet = random.choice(["DSL", "Fiber optic", "No"], rows)
        services = {
            name: np.where(internet == "No", "No internet service", yes_no())
            for name in ("OnlineSecurity", "OnlineBackup", "DeviceProtection", "TechSupport")
        }
        streaming = {
            name: np.where(internet == "No", "No internet service", yes_no())
            for name in ("StreamingTV", "StreamingMovies")
        }
        phone = yes_no(0.9)
        return pd.DataFrame(
            {
                "customerID": [f"{i:04d}-{chr(65 + i % 26) * 5}" for i in range(rows)],
                "gender": random.choice(["Male", "Female"], rows),
                "SeniorCitizen": random.integers(0, 2, rows),
                "Partner": yes_no(),
                "Dependents": yes_no(0.3),
                "tenure": tenure,
                "PhoneService": phone,
                "MultipleLines": np.where(phone == "No", "No phone service", yes_no()),
                "InternetService": internet,
                **services,
                **streaming,
                "Contract": random.choice(["Month-to-month", "One year", "Two year"], rows),
                "PaperlessBilling": yes_no(),
                "PaymentMethod": random.choice(
                    [
                        "Electronic check",
                        "Mailed check",
                        "Bank transfer (automatic)",
                        "Credit card (automatic)",
                    ],
                    rows,
                ),
                "MonthlyCharges": monthly,
                "TotalCharges": (tenure * monthly).round(2).astype(object),
                "Churn": np.where(leaves, "Yes", "No"),
            }
        )

    return make
