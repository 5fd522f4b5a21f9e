import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tasks.fitting.parallel import own_part, replicas, spread

SCRIPT = Path(__file__).with_name("joint_training.py")
SECONDS = 300
# TensorFlow's replicas weigh the last batch a little otherwise, in the mean that an epoch reports
TRAINING_LOSS = {"jax": 0.0, "tensorflow": 0.05}
Found = tuple[dict[str, Any], list[np.ndarray]]


def start(folder: Path, **asked: Any) -> "subprocess.Popen[str]":
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), json.dumps(asked), str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def statuses(*processes: "subprocess.Popen[str]") -> list[int]:
    try:
        for process in processes:
            process.communicate(timeout=SECONDS)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    return [process.returncode for process in processes]


def found(folder: Path, index: int = 0) -> Found:
    with np.load(folder / f"weights-{index}.npz") as stored:
        weights = [stored[name] for name in stored.files]
    return json.loads((folder / f"found-{index}.json").read_text()), weights


def alone(folder: Path, **asked: Any) -> Found:
    process = start(folder, **asked)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    return found(folder)


def joined(folder: Path, count: int, kill_after: int = 0, **asked: Any) -> list[int]:
    """Exit statuses of some processes that train together; the last may kill itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    return statuses(
        *(
            start(
                folder, **asked, processes=count, index=index, coordinator=coordinator,
                kill_after=kill_after if index == count - 1 else 0,
            )
            for index in range(count)
        )
    )  # fmt: skip


def assert_same(one: Found, other: Found, loss: float = 1e-6, weights: float = 1e-5) -> None:
    assert other[0]["history"].keys() == one[0]["history"].keys()
    for name, values in one[0]["history"].items():
        allowed = max(loss, TRAINING_LOSS[other[0]["backend"]]) if name == "loss" else loss
        assert other[0]["history"][name] == pytest.approx(values, abs=allowed, rel=allowed), name
    assert other[0]["best_epoch"] == one[0]["best_epoch"]
    for first, second in zip(one[1], other[1], strict=True):
        assert second == pytest.approx(first, abs=weights)


def test_one_device_divides_nothing() -> None:
    with spread(8) as count:
        assert (count, replicas()) == (1, 1)
        batch = (np.arange(7),)
        assert own_part(batch) is batch


def test_two_devices_give_the_network_of_one(tmp_path: Path) -> None:
    two = alone(tmp_path, devices=2, also_alone=True)
    assert two[0]["count"] == 2
    assert_same(found(tmp_path / "alone"), two)


@pytest.mark.slow
def test_two_processes_give_the_losses_and_the_network_of_one(tmp_path: Path) -> None:
    assert joined(tmp_path / "two", 2) == [0, 0]
    one = alone(tmp_path / "one")
    assert_same(one, found(tmp_path / "two"))
    assert_same(one, found(tmp_path / "two", 1))
    # made on JAX by two processes, read by this one on TensorFlow
    network = keras.models.load_model(tmp_path / "two" / "network-0.keras")
    assert keras.config.backend() == "tensorflow"
    again = keras.models.load_model(tmp_path / "one" / "network-0.keras")
    inputs = np.random.default_rng(5).normal(size=(9, 4)).astype(np.float32)
    assert network.predict(inputs, verbose=0) == pytest.approx(
        again.predict(inputs, verbose=0), abs=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classes", "tokens", "targets", "normalised", "dropout"])
def test_virtual_devices_on_jax_give_the_network_of_one(kind: str, tmp_path: Path) -> None:
    settings = {"frozen_epochs": 1} if kind == "classes" else {}
    one = alone(tmp_path / "1", kind=kind, settings=settings)
    four = alone(tmp_path / "4", kind=kind, settings=settings, devices=4)
    assert four[0]["count"] == 4
    assert_same(one, four)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classes", "tokens", "targets", "normalised"])
@pytest.mark.parametrize("devices", [2, 4])
def test_replicas_on_tensorflow_give_the_network_of_one(
    kind: str, devices: int, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"steps_per_execution": 3}
    if kind == "classes":
        settings |= {"frozen_epochs": 1, "class_weights": [1.0, 2.0, 3.0]}
    asked = {"backend": "tensorflow", "kind": kind, "settings": settings}
    one = alone(tmp_path / "1", **asked)
    several = alone(tmp_path / "several", devices=devices, **asked)
    assert several[0]["count"] == devices
    # a mean per batch over its tokens, and the batches are others
    assert_same(one, several, loss=1e-3 if kind == "tokens" else 1e-6)


@pytest.mark.slow
def test_four_processes_give_the_losses_of_one(tmp_path: Path) -> None:
    assert joined(tmp_path / "four", 4, kind="tokens") == [0] * 4
    assert_same(alone(tmp_path / "one", kind="tokens"), found(tmp_path / "four"))


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_a_killed_process_ends_all_and_all_go_on_to_the_same_network(
    count: int, tmp_path: Path
) -> None:
    checkpoint = str(tmp_path / "checkpoint.npz")
    asked = {"kind": "dropout", "checkpoint": checkpoint}
    started = time.monotonic()
    killed = joined(tmp_path / "killed", count, kill_after=2, **asked)
    assert killed[-1] == -9
    assert all(killed)
    assert time.monotonic() - started < SECONDS
    assert joined(tmp_path / "again", count, **asked) == [0] * count
    again = found(tmp_path / "again")
    assert again[0]["resumed_from"] in (1, 2)
    assert_same(alone(tmp_path / "one", kind="dropout"), again)


@pytest.mark.slow
def test_processes_that_cannot_divide_a_batch_say_so(tmp_path: Path) -> None:
    assert joined(tmp_path, 2, settings={"batch_size": 7}) == [1, 1]
