"""Real processes that train together, the first of them within a flow run of this process."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect import flow

from tasks.config import ModelConfig, TrainingConfig
from tasks.errors import ConfigError, PermanentError, ServiceError
from tasks.first_node import _failure, train_with_others
from tasks.handoffs import PreparedData, RunContext
from tasks.nodes import TrainingOrder
from tasks.storage import Storage

SECONDS = 60


@pytest.fixture
def others(
    monkeypatch: pytest.MonkeyPatch,
    client: Any,
    context: RunContext,
    prepare_table: Callable[..., PreparedData],
) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Leaves an order, makes this process the first of two, and starts the second."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    shared = {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "ROUNDHOUSE_STORAGE": context.storage_uri,
        "ROUNDHOUSE_TRACKING_URI": context.mlflow_uri,
        "JAX_PLATFORMS": "cpu",
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": "2",
    }
    for name, value in (shared | {"JOB_COMPLETION_INDEX": "0"}).items():
        monkeypatch.setenv(name, value)
    started: list[subprocess.Popen[str]] = []

    def start(**training: Any) -> "subprocess.Popen[str]":
        order = TrainingOrder(
            **context.model_dump(include={"pipeline", "run_id", "experiment_id"}),
            record="orders/result",
            prepared=prepare_table(),
            model=ModelConfig(),
            training=TrainingConfig(**{"batch_size": 32, **training}),
        )
        Storage(context.storage_uri).write_record("orders/training", order.model_dump_json())
        command = [
            sys.executable,
            "-m",
            "infra.clusters.training_node",
            "--order",
            "orders/training",
        ]
        variables = os.environ | {"JOB_COMPLETION_INDEX": "1"}
        started.append(subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def trained_in_a_flow_run(storage: Storage) -> Any:
    @flow(persist_result=False)
    def trains() -> Any:
        return train_with_others("orders/training", "orders/result", storage)

    return trains()


@pytest.mark.slow
def test_a_flow_run_trains_with_another_process(
    context: RunContext, others: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    second, storage = others(epochs=2), Storage(context.storage_uri)
    handler = signal.getsignal(signal.SIGTERM)
    with caplog.at_level("INFO", "tasks"):
        trained = trained_in_a_flow_run(storage)
    assert (len(trained.history["loss"]), len(trained.hardware.devices)) == (2, 2)
    assert "epoch 2 of 2" in caplog.text
    assert second.wait(SECONDS) == 0
    assert signal.getsignal(signal.SIGTERM) == handler


@pytest.mark.slow
def test_what_no_attempt_mends_is_raised_in_the_flow_run_as_it_is(
    context: RunContext, others: Callable[..., Any]
) -> None:
    second = others(batch_size=33)
    with pytest.raises(ConfigError, match=r"batch_size is 33, .* expected a multiple"):
        trained_in_a_flow_run(Storage(context.storage_uri))
    assert second.wait(SECONDS) == 78


@pytest.mark.slow
def test_a_lost_process_ends_the_training_and_not_the_flow_run(
    context: RunContext, others: Callable[..., Any]
) -> None:
    second, storage = others(epochs=2000), Storage(context.storage_uri)

    def kill_in_the_middle() -> None:
        while not list(Path(storage.uri).glob("unfinished/checkpoints/*.npz")):
            time.sleep(0.1)
        second.kill()

    killing = threading.Thread(target=kill_in_the_middle)
    killing.start()
    with pytest.raises(ServiceError, match="start again at the last checkpoint"):
        trained_in_a_flow_run(storage)
    killing.join()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_one_that_started_it(
    number: int, context: RunContext, others: Callable[..., Any]
) -> None:
    second = others(epochs=2000)
    code = (
        "import sys; from tasks.first_node import *; "
        f"train_with_others('orders/training', 'orders/result', Storage({context.storage_uri!r}))"
    )
    run = subprocess.Popen([sys.executable, "-c", code])
    while not list(Path(context.storage_uri).glob("unfinished/checkpoints/*.npz")):
        time.sleep(0.1)
    (first,) = psutil.Process(run.pid).children()
    run.send_signal(number)
    run.wait()
    with contextlib.suppress(psutil.NoSuchProcess):
        first.wait(SECONDS)
    assert second.wait(SECONDS) not in (0, 78)


def test_the_end_of_a_process_is_told_in_a_sentence(tmp_path: Path) -> None:
    words = tmp_path / "last-words.json"
    assert "JAX ended it" in str(_failure(-6, words, []))
    assert "SIGKILL, as for lack of memory" in str(_failure(-9, words, []))
    words.write_text('["ValueError", "Connection reset by peer"]')
    lost = _failure(1, words, [])
    assert isinstance(lost, ServiceError)
    assert "(ValueError: Connection reset by peer)" in str(lost)
    words.write_text('["ConfigError", "No such layer."]')
    assert isinstance(_failure(78, words, []), ConfigError)
    words.write_text('["SomethingElse", "Said so."]')
    assert isinstance(_failure(78, words, []), PermanentError)
