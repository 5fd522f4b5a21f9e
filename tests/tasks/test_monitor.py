"""The machine's load in MLflow; the GPUs are stubbed where NVML's C functions are called."""

import contextvars
import ctypes
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tasks import tracking
from tasks.handoffs import RunContext
from tasks.monitor import load_logged, load_not_logged

NOT_SUPPORTED = 3


class Library:
    """What stands for libnvidia-ml.so: two GPUs, of which the second has no counter of energy."""

    def __init__(self) -> None:
        self.millijoules = 5_000

    def __getattr__(self, name: str) -> Callable[..., int]:
        known: dict[str, Callable[..., Any]] = {
            "nvmlInitWithFlags": lambda flags: None,
            "nvmlDeviceGetCount_v2": lambda count: self._give(count, 2),
            "nvmlDeviceGetHandleByIndex_v2": self._handle,
            "nvmlDeviceGetMemoryInfo": self._memory,
            "nvmlDeviceGetUtilizationRates": self._utilization,
            "nvmlDeviceGetPowerUsage": lambda handle, value: self._give(value, 350_000),
            "nvmlDeviceGetEnforcedPowerLimit": lambda handle, value: self._give(value, 700_000),
            "nvmlDeviceGetTotalEnergyConsumption": self._energy,
        }
        if name not in known:
            raise AttributeError(name)
        return lambda *given: known[name](*given) or 0

    @staticmethod
    def _give(reference: Any, value: int) -> None:
        reference._obj.value = value

    def _handle(self, index: Any, reference: Any) -> None:
        ctypes.cast(reference, ctypes.POINTER(ctypes.c_void_p))[0] = int(index.value) + 1

    @staticmethod
    def _memory(handle: Any, reference: Any) -> None:
        reference._obj.total, reference._obj.used = 8 * 10**9, 2 * 10**9

    @staticmethod
    def _utilization(handle: Any, reference: Any) -> None:
        reference._obj.gpu, reference._obj.memory = 87, 40

    def _energy(self, handle: Any, reference: Any) -> int | None:
        if ctypes.cast(handle, ctypes.c_void_p).value != 1:
            return NOT_SUPPORTED
        self._give(reference, self.millijoules)
        self.millijoules += 42_000
        return None


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    import pynvml

    stub = Library()
    monkeypatch.setattr(pynvml, "nvmlLib", stub)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return stub


def logged(context: RunContext) -> dict[str, float]:
    with load_logged(context):
        pass
    run = tracking.client(context.mlflow_uri).get_run(context.run_id)
    return {name: value for name, value in run.data.metrics.items() if name.startswith("system/")}


def test_each_gpus_load_memory_power_and_energy_are_metrics_of_the_run(
    context: RunContext, library: Library
) -> None:
    found = logged(context)
    for gpu in (0, 1):
        assert found[f"system/gpu_{gpu}_utilization_percentage"] == 87
        assert found[f"system/gpu_{gpu}_memory_usage_percentage"] == 25
        assert found[f"system/gpu_{gpu}_power_usage_watts"] == 350
    assert found["system/gpu_0_energy_joules"] >= 42
    assert "system/gpu_1_energy_joules" not in found


def test_without_a_gpu_only_the_rest_is_logged(context: RunContext) -> None:
    found = logged(context)
    assert "system/cpu_utilization_percentage" in found
    assert not [name for name in found if "gpu" in name]


def steps(context: RunContext) -> int:
    metric = "system/cpu_utilization_percentage"
    return len(tracking.client(context.mlflow_uri).get_metric_history(context.run_id, metric))


def test_while_another_machine_works_its_load_is_logged_and_not_this_ones(
    context: RunContext,
) -> None:
    with load_logged(context):
        with load_not_logged():
            begun = steps(context)
            names = [thread.name for thread in threading.enumerate()]
            assert "SystemMetricsMonitor" not in names
            # the other machine's, whose steps go on from those of this
            with contextvars.Context().run(load_logged, context):
                pass
            assert steps(context) == begun + 1
        assert "SystemMetricsMonitor" in [thread.name for thread in threading.enumerate()]
    history = tracking.client(context.mlflow_uri).get_metric_history(
        context.run_id, "system/cpu_utilization_percentage"
    )
    found = [point.step for point in history]
    assert found == sorted(set(found))
    assert len(found) == begun + 2
