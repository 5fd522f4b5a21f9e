"""Processes of a training as pods are: each with a disk of its own, and a bucket that all share."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tasks.config import ModelConfig, TrainingConfig
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import TrainedModel
from tasks.nodes import TrainingOrder
from tasks.storage import Storage
from tasks.stores import Store

SECONDS = 300


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def store_port() -> Iterator[int]:
    """The port of an S3; one for all tests, as fsspec keeps its client of the first."""
    port = free_port()
    store = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/"):
                break
            time.sleep(0.1)
        yield port
    finally:
        store.terminate()
        store.wait()


@pytest.fixture
def context(context: RunContext, store_port: int, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    """A run whose storage is a bucket."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store_port}",
        "AWS_ACCESS_KEY_ID": "roundhouse",
        "AWS_SECRET_ACCESS_KEY": "roundhouse",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="models")
    return context.model_copy(update={"storage_uri": "s3://models/storage"})


@pytest.fixture
def pods(
    context: RunContext, prepare_table: Callable[..., PreparedData], tmp_path: Path
) -> Iterator[Callable[..., Any]]:
    """Starts the processes of one training, each on an empty disk."""
    order = TrainingOrder(
        **context.model_dump(include={"pipeline", "run_id", "experiment_id"}),
        record="orders/result",
        prepared=prepare_table(),
        model=ModelConfig(),
        training=TrainingConfig(epochs=25, batch_size=32),
    )
    Storage(context.storage_uri).write_record("orders/training", order.model_dump_json())
    started: list[subprocess.Popen[bytes]] = []

    def start(attempt: str, count: int) -> "list[subprocess.Popen[bytes]]":
        shared = os.environ | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "ROUNDHOUSE_STORAGE": context.storage_uri,
            "ROUNDHOUSE_TRACKING_URI": context.mlflow_uri,
            "JAX_PLATFORMS": "cpu",
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}",
            "JAX_NUM_PROCESSES": str(count),
        }
        for index in range(count):
            disk = tmp_path / attempt / str(index)
            disk.mkdir(parents=True)
            command = [sys.executable, "-m", "tasks.node_process", "orders/training"]
            own = {"JOB_COMPLETION_INDEX": str(index), "TMPDIR": str(disk), "HOME": str(disk)}
            with (disk / "said").open("wb") as said:
                started.append(
                    subprocess.Popen(
                        [*command, str(disk / "last-words.json")],
                        env=shared | own,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL,
                        stderr=said,
                    )
                )
        return started[-count:]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def result(context: RunContext) -> TrainedModel:
    content = Storage(context.storage_uri).read_record("orders/result")
    return TrainedModel.model_validate_json(content or "")


@pytest.mark.slow
def test_pods_on_other_nodes_go_on_at_the_checkpoint_in_the_bucket(
    context: RunContext, pods: Callable[..., Any], tmp_path: Path
) -> None:
    (single,) = pods("alone", 1)
    assert single.wait(SECONDS) == 0, (tmp_path / "alone" / "0" / "said").read_text()
    alone = result(context)
    first, second = pods("killed", 2)
    store = Store(context.storage_uri)
    checkpoint = f"unfinished/checkpoints/{key_of(context)}.npz"
    while store.size(store.address(checkpoint)) is None:
        assert first.poll() is None, (tmp_path / "killed" / "0" / "said").read_text()
        time.sleep(0.02)
    second.kill()
    assert first.wait(SECONDS) not in (0, 78)
    # what stores is the first process alone
    assert not list((tmp_path / "killed" / "1").rglob("*.npz"))
    assert [pod.wait(SECONDS) for pod in pods("again", 2)] == [0, 0]
    again = result(context)
    assert 1 <= again.resumed_from < 25
    assert again.history["loss"] == pytest.approx(alone.history["loss"], rel=1e-6)
    assert again.history["val_loss"] == pytest.approx(alone.history["val_loss"], rel=1e-6)
    assert store.size(store.address(checkpoint)) is None


def key_of(context: RunContext) -> str:
    from tasks.training import training_key

    content = Storage(context.storage_uri).read_record("orders/training") or ""
    order = TrainingOrder.model_validate_json(content)
    return training_key(order.prepared, order.model, order.training, order.initial)


@pytest.mark.slow
def test_what_no_attempt_mends_is_left_as_its_last_words(
    context: RunContext, pods: Callable[..., Any], tmp_path: Path
) -> None:
    store = Store(context.storage_uri)
    store.delete(store.address("records/orders/training.json"))
    (single,) = pods("alone", 1)
    assert single.wait(SECONDS) == 78
    kind, said = json.loads((tmp_path / "alone" / "0" / "last-words.json").read_text())
    assert kind == "ConfigError"
    assert "no order 'orders/training' in the storage s3://models/storage" in said
