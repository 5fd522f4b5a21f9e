"""What hardware is here, and how best to train on it: precision, batching of steps, determinism."""

import contextlib
import functools
import importlib.util
import logging
import math
import os
import platform
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from tasks.errors import ConfigError
from tasks.judgement import Hardware

# measured twice as fast as 1 for small networks on a CPU, and no faster beyond
STEPS_PER_EXECUTION = 32
# NVIDIA's compute capability from which bfloat16 is computed in hardware (Ampere)
BFLOAT16_CAPABILITY = (8, 0)
# a GPU's memory is taken as it is needed; read when a backend first uses a GPU
MEMORY_GROWTH = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
BACKENDS = ("tensorflow", "jax")
# what the drivers of NVIDIA and AMD show to a process that may use a GPU
GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd")
logger = logging.getLogger(__name__)

Accelerator = tuple[str, tuple[int, ...] | None]


def find_hardware(precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto") -> Hardware:
    """What training will run on, with the precision that was asked for or is best there.

    A GPU's memory is taken as it is needed, not all at once, so that two trainings can share it.

    Args:
        precision: 'auto' is mixed bfloat16 where every GPU computes it in hardware, else float32.

    Raises:
        ConfigError: Keras is to run on something else than TensorFlow or JAX.
    """
    require_backend()
    for name, value in MEMORY_GROWTH.items():
        os.environ.setdefault(name, value)
    import keras

    backend = keras.config.backend()
    accelerators = {"tensorflow": _tensorflow_gpus, "jax": _jax_accelerators}[backend]()
    devices = tuple(name for name, _ in accelerators) or (f"CPU {platform.machine()}",)
    if precision == "auto":
        precision = best_precision([capability for _, capability in accelerators])
    return Hardware(
        backend=backend,
        devices=devices,
        precision=precision,
        cpu_count=usable_cpus(),
        processor=processor(),
    )


def require_backend() -> None:
    """Makes sure that Keras can run on what KERAS_BACKEND names, before it is imported.

    Raises:
        ConfigError: Networks are not trained on that, or it is not installed.
    """
    chosen = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if chosen not in BACKENDS:
        raise ConfigError(
            f"KERAS_BACKEND is {chosen!r}; expected 'tensorflow' or 'jax', on which networks are "
            "trained here. Set one of them, or unset it for TensorFlow."
        )
    if importlib.util.find_spec(chosen) is None:
        raise ConfigError(
            f"KERAS_BACKEND is {chosen!r}, and {chosen} is not installed. Install it, with "
            "pip install 'roundhouse-ml[jax]' for JAX, or unset KERAS_BACKEND for TensorFlow."
        )


def best_precision(
    capabilities: Sequence[tuple[int, ...] | None],
) -> Literal["float32", "mixed_bfloat16"]:
    """The fastest precision that needs no care, by the compute capability of each accelerator.

    Args:
        capabilities: Of each accelerator, for example (9, 0); None where it is not known.
    """
    known = [capability for capability in capabilities if capability is not None]
    if not known or len(known) < len(capabilities):
        return "float32"
    return "mixed_bfloat16" if min(known) >= BFLOAT16_CAPABILITY else "float32"


def steps_per_execution(rows: int, batch_size: int) -> int:
    """Steps that Keras runs before it calls its callbacks: 32, or an epoch that has fewer.

    On TensorFlow they are one call into the backend. On JAX each step is still a call of the one
    compiled function; what is saved is a task for another thread, which waits for the step's loss.
    A remainder is no trouble: the last of an epoch end with the rows.
    """
    return max(1, min(STEPS_PER_EXECUTION, math.ceil(rows / batch_size)))


def jit_compile(hardware: Hardware) -> bool | Literal["auto"]:
    """Whether XLA compiles the training step.

    Not on a CPU, where its convolutions are slow; but JAX is not meant to go without.
    """
    if hardware.backend == "tensorflow" and len(hardware.devices) > 1:
        # compiled together with mixed precision, MirroredStrategy's replicas wait for each other
        return False
    return "auto" if has_accelerator(hardware) or hardware.backend == "jax" else False


def used(hardware: Hardware, count: int) -> Hardware:
    """The hardware with as many devices as a training uses; CPUs may be virtual ones.

    Args:
        hardware: As it was found.
        count: Devices that are used.
    """
    return hardware.model_copy(update={"devices": (hardware.devices * count)[:count]})


def has_accelerator(hardware: Hardware) -> bool:
    """Whether training runs on a GPU or the like, and not on the CPU alone."""
    return not hardware.devices[0].startswith("CPU")


def sees_gpu() -> bool:
    """Whether this process is shown a GPU, without a backend that would begin to use it."""
    return any(Path(place).exists() for place in GPU_DEVICES)


@contextlib.contextmanager
def precision_policy(precision: str) -> Iterator[None]:
    """While it lasts, layers are built with a dtype policy; the policy before comes back.

    Args:
        precision: Name of a Keras dtype policy.
    """
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def repeatable(seed: int, *, deterministic: bool) -> Iterator[None]:
    """Seeds everything; while it lasts, operations are bit-for-bit repeatable where asked for.

    Args:
        seed: Seed of Python, NumPy, the backend and the layers, below 2**32.
        deterministic: Use only operations that give the same bits every time. TensorFlow only; on
            other backends the seed has to do.
    """
    import keras

    keras.utils.set_random_seed(seed)
    with _layer_seeds(seed), _same_bits(wanted=deterministic):
        yield


@contextlib.contextmanager
def _layer_seeds(seed: int) -> Iterator[None]:
    """Layers draw their seeds from a generator of their own while it lasts.

    Keras takes them from Python's global one, of which the threads of a Prefect server draw their
    pauses: a draw between two layers, and the network starts from other weights.
    """
    from keras.src.random import seed_generator  # there is no public way to hand it a generator

    shared = seed_generator.python_random
    seed_generator.python_random = random.Random(seed)
    try:
        yield
    finally:
        seed_generator.python_random = shared


@contextlib.contextmanager
def _same_bits(*, wanted: bool) -> Iterator[None]:
    """TensorFlow's operations give the same bits every time while it lasts, if that is wanted."""
    import keras

    if not wanted or keras.config.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf
    from tensorflow.python.framework import config as switches  # the way back is not public

    was_enabled = switches.is_op_determinism_enabled()
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        if not was_enabled:
            switches.disable_op_determinism()


def _tensorflow_gpus() -> list[Accelerator]:
    import tensorflow as tf

    found = []
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        found.append(described(details.get("device_name"), details.get("compute_capability")))
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            logger.debug("%s is in use already; how it takes its memory stays as it is", gpu.name)
    return found


def _jax_accelerators() -> list[Accelerator]:
    import jax

    accelerators = [device for device in jax.devices() if device.platform != "cpu"]
    return [
        described(device.device_kind, getattr(device, "compute_capability", None))
        for device in accelerators
    ]


def described(name: str | None, capability: Any) -> Accelerator:
    """An accelerator's name and compute capability, from a backend's own words for them.

    Args:
        name: As the driver calls it, if it does.
        capability: A pair of numbers (TensorFlow), `"9.0"` (JAX) or None.
    """
    if isinstance(capability, str):
        capability = tuple(int(part) for part in capability.split(".") if part.isdigit())
    return f"GPU {name or 'of unknown type'}", tuple(capability) if capability else None


def usable_cpus() -> int:
    """Cores this process may use, which in a container can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def processor() -> str:
    """Model of the processor, as it calls itself; empty where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
