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
    with (folder / f"said-{asked.get('index', 0)}").open("w") as said:
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), json.dumps(asked), str(folder)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.DEVNULL,
            stderr=said,
        )


def statuses(*processes: "subprocess.Popen[str]", stopped: int | None = None) -> list[int]:
    """How processes end; one that only stops is killed once the others have ended."""
    try:
        for index, process in enumerate(processes):
            if index != stopped:
                process.wait(timeout=SECONDS)
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
    assert statuses(start(folder, **asked)) == [0], (folder / "said-0").read_text()
    return found(folder)


def joined(
    folder: Path, count: int, ending: str = "", who: int | None = None, **asked: Any
) -> list[int]:
    """Exit statuses of some processes that train together; one of them may end otherwise."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    processes = [
        start(
            folder, **asked, processes=count, index=index, coordinator=coordinator,
            ending=ending if index == who else "",
        )
        for index in range(count)
    ]  # fmt: skip
    return statuses(*processes, stopped=who if ending == "stops" else None)


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


# all that draws at random, weighs, or decides; the last batch of the rows none can divide
TRAININGS: dict[str, dict[str, Any]] = {
    "weights": {"settings": {"class_weights": [1.0, 2.0, 3.0]}},
    "smoothed": {"settings": {"labels": "one_hot", "label_smoothing": 0.1}},
    "two_batches": {"kind": "two_batches"},
    "tokens": {"kind": "tokens"},
    "weighed_tokens": {"kind": "tokens", "settings": {"class_weights": [1.0, 2.0, 3.0]}},
    "targets": {"kind": "targets", "settings": {"loss": "absolute_error"}},
    "sequences": {"kind": "sequences"},
    "normalised": {"kind": "normalised"},
    "dropout": {"kind": "dropout"},
    "augmented": {"kind": "images", "settings": {"shift": 0.1, "rotation": 10.0, "zoom": 0.1}},
    "phases": {"kind": "normalised", "settings": {"frozen_epochs": 2, "fine_tuning_rate": 0.003}},
    "schedule": {"settings": {"schedule": "one_cycle", "weight_decay": 0.01}},
    # it stops early, and the best weights are not the last
    "patience": {"settings": {"epochs": 30, "patience": 2, "learning_rate": 0.1}},
    "steps": {"settings": {"steps_per_execution": 3}},
}


@pytest.mark.slow
@pytest.mark.parametrize(("count", "devices"), [(2, 2), (4, 1)])
def test_whatever_is_trained_several_processes_give_the_losses_of_one(
    count: int, devices: int, tmp_path: Path
) -> None:
    alone_process = start(tmp_path / "one", each=TRAININGS)
    assert statuses(alone_process) == [0]
    assert joined(tmp_path / "all", count, each=TRAININGS, devices=devices) == [0] * count
    for name in TRAININGS:
        one = found(tmp_path / "one" / name)
        for index in range(count):
            assert_same(one, found(tmp_path / "all" / name, index))
    stopped = found(tmp_path / "all" / "patience")[0]
    assert stopped["best_epoch"] < len(stopped["history"]["loss"]) < 30


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What one process makes of what the processes of some tests are interrupted in."""
    return alone(tmp_path_factory.mktemp("uninterrupted"), kind="dropout")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "who", "ending", "resumed"),
    [
        (2, 1, "is killed", {1, 2}),
        (4, 3, "is killed", {1, 2}),
        (2, 0, "is killed", {2}),
        (2, 0, "half stored", {1}),
        (2, 0, "before storing", {1}),
    ],
)
def test_a_lost_process_ends_all_and_all_go_on_to_the_same_network(
    count: int, who: int, ending: str, resumed: set[int], uninterrupted: Found, tmp_path: Path
) -> None:
    checkpoint = str(tmp_path / "checkpoint.npz")
    asked = {"kind": "dropout", "checkpoint": checkpoint}
    lost = joined(tmp_path / "lost", count, ending, who, **asked)
    ended = time.time()
    assert lost[who] == -9
    assert all(lost)
    assert ended - (tmp_path / "lost" / f"epoch-{who}").stat().st_mtime < 60
    survivor = (tmp_path / "lost" / f"said-{0 if who else 1}").read_text()
    assert "This process of the training failed" in survivor or "another task died" in survivor
    assert joined(tmp_path / "again", count, **asked) == [0] * count
    again = found(tmp_path / "again")
    assert again[0]["resumed_from"] in resumed
    assert_same(uninterrupted, again)


@pytest.mark.slow
def test_one_that_is_lost_before_the_first_checkpoint_costs_no_more_than_that(
    uninterrupted: Found, tmp_path: Path
) -> None:
    asked = {"kind": "dropout", "checkpoint": str(tmp_path / "checkpoint.npz")}
    assert all(joined(tmp_path / "lost", 2, "before storing", 0, ends_after=1, **asked))
    assert joined(tmp_path / "again", 2, **asked) == [0, 0]
    assert found(tmp_path / "again")[0]["resumed_from"] == 0
    assert_same(uninterrupted, found(tmp_path / "again"))


@pytest.mark.slow
@pytest.mark.parametrize("who", [0, 1])
def test_one_that_says_nothing_any_more_ends_all(who: int, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"constants": {"HEARTBEAT_SECONDS": 10}, "settings": {"epochs": 9}}
    lost = joined(tmp_path, 2, "stops", who, **asked)
    assert lost[who] == -9
    assert lost[1 - who] not in (0, 78)
    assert time.time() - (tmp_path / f"epoch-{who}").stat().st_mtime < 60


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_all_for_good(tmp_path: Path) -> None:
    assert joined(tmp_path, 2, settings={"learning_rate": 1e38}) == [78, 78]


@pytest.mark.slow
def test_a_first_process_that_cannot_store_ends_all(tmp_path: Path) -> None:
    place = str(tmp_path / "{index}" / "checkpoint.npz")
    first, second = joined(tmp_path, 2, "fails storing", 0, checkpoint=place)
    assert (first, second) == (1, 1)
    assert "No space left on device" in (tmp_path / "said-0").read_text()


@pytest.mark.slow
def test_only_the_first_process_stores_and_others_must_find_it(tmp_path: Path) -> None:
    place = str(tmp_path / "{index}" / "checkpoint.npz")
    assert all(joined(tmp_path / "lost", 2, "is killed", 1, checkpoint=place))
    assert not (tmp_path / "1").exists()
    assert joined(tmp_path / "again", 2, checkpoint=place) == [1, 1]
    for index in range(2):
        said = (tmp_path / "again" / f"said-{index}").read_text()
        assert "the processes found are of the epochs" in said
        assert "Give all the same storage" in said


@pytest.mark.slow
def test_one_that_never_comes_is_named(tmp_path: Path) -> None:
    asked = {
        "processes": 3,
        "constants": {"GATHERING_SECONDS": 5},
        "coordinator": "127.0.0.1:29541",
    }
    there = [start(tmp_path, **asked, index=index) for index in (0, 1)]
    assert statuses(*there) == [1, 1]
    for index in range(2):
        assert "of 3 processes, number 3 did not come" in (tmp_path / f"said-{index}").read_text()


@pytest.mark.slow
def test_processes_that_cannot_divide_a_batch_say_so(tmp_path: Path) -> None:
    assert joined(tmp_path, 2, settings={"batch_size": 7}) == [1, 1]
    said = (tmp_path / "said-1").read_text()
    assert "a batch of 7 rows cannot be divided between 2 devices of 2 processes" in said
