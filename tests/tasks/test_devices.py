import os
import random

import keras
import numpy as np
import pytest

from tasks import devices
from tasks.errors import ConfigError
from tasks.judgement import Hardware


def hardware(device: str) -> Hardware:
    return Hardware(backend="tensorflow", devices=(device,), precision="float32", cpu_count=2)


def test_hardware_of_this_machine_is_named() -> None:
    found = devices.find_hardware()
    assert found.backend == keras.config.backend()
    assert found.devices[0].startswith(("CPU", "GPU"))
    assert found.cpu_count >= 1


def test_precision_that_is_asked_for_is_kept() -> None:
    assert devices.find_hardware("mixed_bfloat16").precision == "mixed_bfloat16"


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ([], "float32"),
        ([(9, 0)], "mixed_bfloat16"),
        ([(9, 0), (7, 5)], "float32"),
        ([(9, 0), None], "float32"),
    ],
)
def test_bfloat16_only_where_every_gpu_has_it(
    capabilities: list[tuple[int, int] | None], expected: str
) -> None:
    assert devices.best_precision(capabilities) == expected


@pytest.mark.parametrize(
    ("name", "capability", "expected"),
    [
        ("H200", (9, 0), ("GPU H200", (9, 0))),
        ("H200", "9.0", ("GPU H200", (9, 0))),
        (None, None, ("GPU of unknown type", None)),
    ],
)
def test_backends_words_for_a_gpu_are_understood(
    name: str | None, capability: object, expected: tuple[object, object]
) -> None:
    assert devices.described(name, capability) == expected


@pytest.mark.parametrize(
    ("rows", "batch_size", "expected"), [(60_000, 32, 32), (100, 32, 4), (5, 32, 1), (0, 32, 1)]
)
def test_steps_per_execution_is_never_more_than_an_epoch(
    rows: int, batch_size: int, expected: int
) -> None:
    assert devices.steps_per_execution(rows, batch_size) == expected


def test_xla_is_for_gpus() -> None:
    assert devices.jit_compile(hardware("CPU x86_64")) is False
    assert devices.jit_compile(hardware("GPU H200")) == "auto"


def test_precision_policy_does_not_leak() -> None:
    before = keras.config.dtype_policy().name
    with devices.precision_policy("mixed_bfloat16"):
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert keras.config.dtype_policy().name == before


def test_same_seed_gives_the_same_numbers() -> None:
    drawn = []
    for _ in range(2):
        with devices.repeatable(5, deterministic=False):
            drawn.append(np.asarray(keras.random.normal((3,))))
    assert np.array_equal(*drawn)


def test_another_threads_draw_does_not_change_the_weights() -> None:
    weights = []
    for others_draw in (False, True):
        with devices.repeatable(5, deterministic=False):
            if others_draw:
                random.random()
            weights.append(keras.initializers.GlorotUniform()((3, 2)))
    assert np.array_equal(*weights)


def test_determinism_ends_with_the_training() -> None:
    switches = pytest.importorskip("tensorflow.python.framework.config")
    with devices.repeatable(5, deterministic=True):
        assert switches.is_op_determinism_enabled()
        with devices.repeatable(5, deterministic=True):
            pass
        assert switches.is_op_determinism_enabled()
    assert not switches.is_op_determinism_enabled()


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("theano", r"KERAS_BACKEND is 'theano'; expected 'tensorflow' or 'jax'.*unset it"),
        ("jax", r"KERAS_BACKEND is 'jax', and jax is not installed.*roundhouse-ml\[jax\]"),
    ],
)
def test_a_backend_that_cannot_be_is_refused_before_keras_is_asked(
    backend: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=expected):
        devices.find_hardware()


def test_a_gpus_memory_is_taken_as_it_is_needed_unless_somebody_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    devices.find_hardware()
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"
