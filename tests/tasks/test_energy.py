import itertools
import sys
import time
from types import SimpleNamespace

import pytest

from tasks import energy
from tasks.energy import metered, processor_counters


@pytest.fixture
def powercap(tmp_path):
    """A machine of one processor with a core, apart memory, and the whole platform once more."""
    zones = {
        "intel-rapl:0": ("package-0", 1_000_000),
        "intel-rapl:0:0": ("core", 400_000),
        "intel-rapl:0:1": ("dram", 200_000),
        "intel-rapl:1": ("psys", 3_000_000),
    }
    for zone, (name, energy_uj) in zones.items():
        folder = tmp_path / zone
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text("10000000\n")
        (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return tmp_path


def count(powercap, zone, energy_uj):
    aside = powercap / "aside"
    aside.write_text(f"{energy_uj}\n")
    # in one step, as the system does it
    aside.replace(powercap / zone / "energy_uj")


def test_processors_and_memory_are_counted_once(powercap):
    with metered(with_gpus=False, powercap=powercap) as meter:
        count(powercap, "intel-rapl:0", 3_000_000)
        count(powercap, "intel-rapl:0:0", 2_000_000)
        count(powercap, "intel-rapl:0:1", 700_000)
        count(powercap, "intel-rapl:1", 9_000_000)
    found = meter.consumption()
    assert found.energy_joules == pytest.approx(2.0 + 0.5)
    assert found.energy_of == ("processors", "memory")


def test_a_counter_that_starts_again_at_nought_goes_on(powercap):
    with metered(with_gpus=False, powercap=powercap) as meter:
        count(powercap, "intel-rapl:0", 500_000)
    assert meter.consumption().energy_joules == pytest.approx(9.5)


def test_a_counter_that_starts_again_more_than_once_is_read_meanwhile(powercap, monkeypatch):
    monkeypatch.setattr(energy, "SECONDS_BETWEEN_READINGS", 0.005)
    with metered(with_gpus=False, powercap=powercap) as meter:
        for energy_uj in (9_000_000, 1_000_000, 9_500_000, 500_000):
            count(powercap, "intel-rapl:0", energy_uj)
            time.sleep(0.05)
    assert meter.consumption().energy_joules == pytest.approx(8.0 + 2.0 + 8.5 + 1.0)


def test_without_a_counter_only_the_processor_time_is_told(tmp_path):
    with metered(with_gpus=False, powercap=tmp_path) as meter:
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass
    found = meter.consumption()
    assert found.cpu_seconds >= 0.02
    assert (found.energy_joules, found.energy_of) == (None, ())


def test_a_counter_that_may_not_be_read_is_none(powercap, monkeypatch):
    def refuse(path):
        def read():
            raise PermissionError(path)

        return read

    monkeypatch.setattr(energy, "_reader", refuse)
    assert processor_counters(powercap) == ()


@pytest.mark.parametrize("content", ["", None])
def test_a_counter_that_fails_meanwhile_tells_nothing(powercap, content):
    with metered(with_gpus=False, powercap=powercap) as meter:
        path = powercap / "intel-rapl:0" / "energy_uj"
        path.unlink() if content is None else path.write_text(content)
    assert meter.consumption().energy_joules is None


def test_gpus_are_those_that_the_process_may_use(tmp_path, monkeypatch):
    counters = {number: itertools.count(0, 10 ** (number + 3)) for number in range(3)}
    closed = []
    driver = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: closed.append(True),
        nvmlDeviceGetCount=lambda: 3,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetHandleByUUID=lambda name: {"GPU-two": 2}[name],
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(counters[handle]),
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, GPU-two")
    with metered(with_gpus=True, powercap=tmp_path) as meter:
        pass
    found = meter.consumption()
    assert found.energy_joules == pytest.approx(1 + 100)
    assert (found.energy_of, closed) == (("GPUs",), [True])


def test_a_gpu_without_a_counter_leaves_the_processors(powercap, monkeypatch):
    def fail():
        raise RuntimeError("no driver")

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlInit=fail))
    with metered(with_gpus=True, powercap=powercap) as meter:
        count(powercap, "intel-rapl:0", 2_000_000)
    assert meter.consumption().energy_of == ("processors", "memory")
