"""What all tests share: a clean environment, a run to work in, and the real command."""

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.handoffs import RunContext

CLEANED = ("ROUNDHOUSE_", "MLFLOW_", "PREFECT_")
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
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
    experiment_id = tracking.open_experiment(uri, "trial", str(tmp_path / "artifacts"))
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
        self,
        *arguments: str,
        wrapper: Sequence[str] = (),
        stdout: Any = subprocess.PIPE,
        **variables: str,
    ) -> "subprocess.Popen[str]":
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(CLEANED)}
        return subprocess.Popen(
            [*wrapper, Path(sys.executable).with_name("roundhouse"), *arguments],
            stdout=stdout,
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


class Stack:
    """`roundhouse up` on free ports, once all of it is ready.

    Args:
        command: The command on its home.
        variables: Further settings of the stack.
    """

    def __init__(self, command: Roundhouse, **variables: str) -> None:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            ports = [str(found.getsockname()[1]) for found in (one, other)]
        self.prefect, self.mlflow = (f"http://127.0.0.1:{port}" for port in ports)
        self.command = command
        command.environment |= {
            "ROUNDHOUSE_PREFECT_PORT": ports[0],
            "ROUNDHOUSE_MLFLOW_PORT": ports[1],
            **variables,
        }
        self.process = command.start("up")
        self.shown = ""
        while "Ready after" not in self.shown:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"{self.shown}\n{self.process.communicate()[1]}")
            self.shown += line

    def ask(self, path: str, **body: Any) -> Any:
        """What Prefect's API answers; a POST where there is a body or the path ends so."""
        data = None if not body and not path.endswith("filter") else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.prefect}/api/{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def deployment(self, name: str, flow: str = "train") -> Any:
        return self.ask(f"deployments/name/{flow}/{name}")

    def trigger(self, name: str, **parameters: Any) -> str:
        """The id of a new run of a pipeline, asked for as the pages do."""
        place = f"deployments/{self.deployment(name)['id']}/create_flow_run"
        return str(self.ask(place, state={"type": "SCHEDULED"}, parameters=parameters)["id"])

    def run(self, number: str) -> Any:
        return self.ask(f"flow_runs/{number}")

    def runs(self) -> list[Any]:
        """The runs that began or were asked for by hand."""
        found = self.ask("flow_runs/filter", sort="START_TIME_DESC")
        return [run for run in found if not run["auto_scheduled"]]

    def ended(self, number: str, seconds: float = 180) -> Any:
        """A run once it has come to its end."""
        deadline = time.monotonic() + seconds
        while (found := self.run(number))["state_type"] not in ENDED:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{found['name']} is {found['state']} after {seconds:g} s")
            time.sleep(0.3)
        return found

    def stop(self) -> str:
        """Ends it as Ctrl-C does; what it showed since it was ready."""
        self.process.send_signal(signal.SIGINT)
        out, error = self.process.communicate(timeout=90)
        return str(out + error)


@pytest.fixture(scope="session")
def stack_at() -> Iterator[Callable[..., Stack]]:
    """Starts the stack on a home: (home, **variables) -> Stack; all are stopped in the end."""
    started: list[Stack] = []

    def start(home: Path, **variables: str) -> Stack:
        started.append(Stack(Roundhouse(home), **variables))
        return started[-1]

    yield start
    for stack in started:
        if stack.process.poll() is None:
            stack.stop()


@pytest.fixture(scope="session")
def stack(stack_at: Callable[..., Stack], tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A stack on a fresh home, for all tests that need none of their own."""
    return stack_at(tmp_path_factory.mktemp("stack") / "home")


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
