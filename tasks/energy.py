"""What a piece of work takes of a machine: processor time, and energy where a counter tells it.

Two kinds of counters are read, and nothing is estimated: Intel's and AMD's RAPL, as Linux offers it
(https://docs.kernel.org/power/powercap/powercap.html), and that of NVIDIA's GPUs from Volta on
(https://docs.nvidia.com/deploy/nvml-api/, nvmlDeviceGetTotalEnergyConsumption).
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.handoffs import Handoff

POWERCAP = Path("/sys/class/powercap")
# a busy server's counter starts again at 0 after twenty minutes or so
SECONDS_BETWEEN_READINGS = 30.0
MICROJOULE, MILLIJOULE = 1e-6, 1e-3
PROCESSORS, MEMORY, GPUS = "processors", "memory", "GPUs"
logger = logging.getLogger(__name__)


class Consumption(Handoff):
    """What a piece of work took of the machine.

    Args:
        cpu_seconds: Processor time of the process, over all of its threads.
        energy_joules: Energy of the machine meanwhile; None where no counter tells it.
        energy_of: The parts of the machine whose energy that is.
    """

    cpu_seconds: float
    energy_joules: float | None = None
    energy_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Counter:
    """An energy counter, which rises until it starts again at 0.

    Args:
        what: What it counts the energy of.
        read: Gives its value, in its unit.
        unit: Joules of one.
        span: Where it starts again, in its unit; 0 where it never does.
    """

    what: str
    read: Callable[[], int]
    unit: float
    span: int = 0


class Meter:
    """What is taken from when it is made until it is stopped, over the counters of a machine.

    Args:
        counters: The counters; none of them: no energy is known.
    """

    def __init__(self, counters: tuple[Counter, ...]) -> None:
        self._counters, self._joules = counters, 0.0
        self._last: list[int] | None = self._values() if counters else None
        self._began, self._ended = time.process_time(), 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="energy", daemon=True)
        if self._last:
            self._thread.start()

    def stop(self) -> None:
        """Ends the measurement."""
        self._ended = time.process_time()
        self._stopped.set()
        if self._last:
            self._thread.join()
            self._add()

    def consumption(self) -> Consumption:
        """What was taken, once it is stopped."""
        whole = bool(self._last)
        return Consumption(
            cpu_seconds=self._ended - self._began,
            energy_joules=self._joules if whole else None,
            energy_of=tuple(dict.fromkeys(c.what for c in self._counters)) if whole else (),
        )

    def _watch(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN_READINGS):
            self._add()

    def _add(self) -> None:
        """Adds what the counters rose by since they were read; lost for good where one fails."""
        before, now = self._last, self._values() if self._last else None
        if before and now:
            risen = [
                new - old if new >= old else new - old + counter.span
                for counter, old, new in zip(self._counters, before, now, strict=True)
            ]
            if min(risen) < 0:
                logger.warning("An energy counter went back; the energy is not measured")
                now = None
            else:
                units = (counter.unit for counter in self._counters)
                self._joules += sum(r * unit for r, unit in zip(risen, units, strict=True))
        self._last = now

    def _values(self) -> list[int] | None:
        try:
            return [counter.read() for counter in self._counters]
        except Exception as error:
            # a driver's own errors among them; no figure is worth a training
            logger.info("The energy is not measured: %s", error)
            return None


@contextlib.contextmanager
def metered(*, with_gpus: bool, powercap: Path = POWERCAP) -> Iterator[Meter]:
    """Measures what is taken while it lasts; the meter tells it afterwards.

    The counters are of the whole machine: work of others at the same time is in them as well.

    Args:
        with_gpus: Whether GPUs are at work.
        powercap: Where Linux has RAPL's counters.
    """
    with contextlib.ExitStack() as stack:
        counters = processor_counters(powercap)
        if with_gpus:
            counters += _gpu_counters(stack)
        meter = Meter(counters)
        try:
            yield meter
        finally:
            meter.stop()


def processor_counters(powercap: Path = POWERCAP) -> tuple[Counter, ...]:
    """The counters of the processors, and of the memory where it is apart; none that is locked.

    A processor's parts are in the package's own figure, its memory is not; what is named psys
    counts all of it a second time.
    """
    found = []
    for zone in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            span = int((zone / "max_energy_range_uj").read_text())
            read = _reader(zone / "energy_uj")
            read()
        except (OSError, ValueError):
            # since 2020 Linux lets only root read it
            continue
        what = PROCESSORS if name.startswith("package") else MEMORY if name == "dram" else ""
        if what:
            found.append(Counter(what, read, MICROJOULE, span))
    return tuple(found)


def _reader(path: Path) -> Callable[[], int]:
    return lambda: int(path.read_text())


def _gpu_counters(stack: contextlib.ExitStack) -> tuple[Counter, ...]:
    """The counters of the GPUs that this process may use; none where one of them has none."""
    try:
        import pynvml

        pynvml.nvmlInit()
        stack.callback(pynvml.nvmlShutdown)
        handles = _visible(pynvml, os.environ.get("CUDA_VISIBLE_DEVICES"))
        for handle in handles:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception as error:
        # no driver, another maker's GPU, or one that is too old
        logger.info("The energy of the GPUs is not measured: %s", error)
        return ()
    return tuple(Counter(GPUS, _gpu_reader(pynvml, handle), MILLIJOULE) for handle in handles)


def _gpu_reader(pynvml: Any, handle: Any) -> Callable[[], int]:
    return lambda: int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))


def _visible(pynvml: Any, chosen: str | None) -> list[Any]:
    """Handles of the GPUs that CUDA_VISIBLE_DEVICES leaves, by number or by name; else of all."""
    if chosen is None:
        names = [str(number) for number in range(pynvml.nvmlDeviceGetCount())]
    else:
        names = [name.strip() for name in chosen.split(",") if name.strip()]
    return [
        pynvml.nvmlDeviceGetHandleByIndex(int(name))
        if name.isdigit()
        else pynvml.nvmlDeviceGetHandleByUUID(name)
        for name in names
    ]
