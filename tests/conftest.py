"""What all tests share: a clean environment, a run to work in, and the real command."""

import base64
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.handoffs import RunContext

CLEANED = ("ROUNDHOUSE_", "MLFLOW_", "PREFECT_")
SECONDS = 150
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
# read before the environment is cleaned: where the slow tests find the whole of the data
DATA_DIR = os.environ.get("ROUNDHOUSE_DATA_DIR")
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "ORT_DISABLE_TELEMETRY": "true",
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
    """A `roundhouse up` on free ports, as people and their browsers see it.

    Args:
        command: The command on the stack's home.
        wrapper: What it is started by, such as nohup.
        variables: Further settings.
    """

    def __init__(self, command: Roundhouse, *wrapper: str, **variables: str) -> None:
        command.environment |= {**free_ports(), **variables}
        self.command, self.home = command, command.home
        self._output = (self.home.parent / f"up-{time.monotonic_ns()}").open("w+")
        self.process = command.start("up", wrapper=wrapper, stdout=self._output)
        port = command.environment.__getitem__
        self.prefect = f"http://127.0.0.1:{port('ROUNDHOUSE_PREFECT_PORT')}"
        self.mlflow = f"http://127.0.0.1:{port('ROUNDHOUSE_MLFLOW_PORT')}"

    @property
    def shown(self) -> str:
        return Path(self._output.name).read_text()

    def wait_for(self, text: str, seconds: float = SECONDS) -> str:
        """All that it showed, once a text is in it."""
        deadline = time.monotonic() + seconds
        while text not in self.shown and self.process.poll() is None:
            assert time.monotonic() < deadline, self.shown
            time.sleep(0.1)
        assert text in self.shown, self.process.stderr and self.process.stderr.read()
        return self.shown

    def children(self) -> list[psutil.Process]:
        if self.process.poll() is not None:
            return []
        return psutil.Process(self.process.pid).children(recursive=True)

    def part(self, name: str) -> psutil.Process:
        """The process of Prefect, MLflow or Worker, as the home's record has it."""
        from infra.presence import read_record
        from tasks.settings import Settings

        deadline = time.monotonic() + SECONDS
        while True:
            described = read_record(Settings(home=self.home)).get("parts", {}).get(name)
            if described and psutil.pid_exists(described["number"]):
                return psutil.Process(described["number"])
            assert time.monotonic() < deadline, f"there is no {name}"
            time.sleep(0.1)

    def ask(self, path: str, body: Any = None) -> Any:
        """What Prefect's API answers; to a POST where there is a body."""
        headers = {"Content-Type": "application/json"}
        if password := self.command.environment.get("ROUNDHOUSE_PASSWORD"):
            pair = base64.b64encode(f"admin:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.prefect}/api/{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            error.add_note(error.read().decode(errors="replace")[:2000])
            raise

    def trigger(self, name: str, **parameters: Any) -> str:
        """Presses Run on a pipeline, as the pages do; the id of the run."""
        deployment = self.ask(f"deployments/name/train/{name}")
        for key, value in parameters.items():
            if isinstance(value, dict):
                parameters[key] = {**deployment["parameters"].get(key, {}), **value}
        place = f"deployments/{deployment['id']}/create_flow_run"
        return str(self.ask(place, {"parameters": parameters})["id"])

    def run(self, number: str) -> Any:
        return self.ask(f"flow_runs/{number}")

    def runs(self) -> list[Any]:
        """The runs that were asked for by hand."""
        found = self.ask("flow_runs/filter", {"sort": "START_TIME_DESC"})
        return [run for run in found if not run["auto_scheduled"]]

    def states(self, number: str) -> list[str]:
        """The names of a run's states until now."""
        found = self.ask(f"flow_run_states/?flow_run_id={number}")
        return [state["name"] for state in found]

    def ended(self, number: str, seconds: float = 240) -> Any:
        """A run once it has come to its end."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if (found := self.run(number))["state_type"] in ENDED:
                    return found
            assert time.monotonic() < deadline, f"{number} has not ended after {seconds:g} s"
            time.sleep(0.3)

    def logs(self) -> str:
        """All that its parts have logged."""
        return "\n".join(p.read_text(errors="replace") for p in (self.home / "logs").iterdir())

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ends it, as Ctrl-C does; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=SECONDS)


def free_ports() -> dict[str, str]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return {
            "ROUNDHOUSE_PREFECT_PORT": str(one.getsockname()[1]),
            "ROUNDHOUSE_MLFLOW_PORT": str(other.getsockname()[1]),
        }


@pytest.fixture(scope="session")
def stack_at() -> Iterator[Callable[..., Stack]]:
    """Starts a stack: (home, *wrapper, ready=True, **variables) -> Stack; it is stopped at last."""
    started: list[Stack] = []

    def start(home: Path, *wrapper: str, ready: bool = True, **variables: str) -> Stack:
        home.parent.mkdir(parents=True, exist_ok=True)
        started.append(Stack(Roundhouse(home), *wrapper, **variables))
        if ready:
            started[-1].wait_for("Ready after")
        return started[-1]

    yield start
    for stack in started:
        left = [*stack.children(), stack.process]
        with contextlib.suppress(subprocess.TimeoutExpired):
            stack.stop()
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()


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


@pytest.fixture
def client(prefect_server: str) -> Iterator[Any]:
    """A client of the real Prefect API, which the flows of a test use as well."""
    from prefect.client.orchestration import get_client
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    values = {PREFECT_API_URL: prefect_server, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(values), get_client(sync_client=True) as found:
        yield found
        # what is still to be sent would be tried for a minute once the server has ended
        APILogWorker.drain_all(timeout=5)
        EventsWorker.drain_all()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What simulations found is told, as their tests hold it to bounds only."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            where = report.nodeid.rpartition("::")[2]
            terminalreporter.write_line(f"{where}: {name.replace('_', ' ')} {value}")


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
