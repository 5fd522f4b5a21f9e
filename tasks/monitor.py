"""The load of the machine while a run is at work, in MLflow beside the run's own metrics."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from tasks.energy import MILLIJOULE
from tasks.handoffs import RunContext
from tasks.remote import scrubbed

# the run that is sampled, and what samples it
_sampled: ContextVar["tuple[RunContext, list[Any]] | None"] = ContextVar("sampled", default=None)
logger = logging.getLogger(__name__)


@contextlib.contextmanager
def load_logged(context: RunContext) -> Iterator[None]:
    """While it lasts, the machine is sampled, each of its GPUs too; no failure of it is a run's.

    Of processor, memory, disk and network, and of GPUs their utilisation, memory, power, and the
    energy since the run began.

    Args:
        context: The run.
    """
    monitors = _start(context)
    token = _sampled.set((context, monitors))
    try:
        yield
    finally:
        _sampled.reset(token)
        _finish(monitors)


@contextlib.contextmanager
def load_not_logged() -> Iterator[None]:
    """While it lasts, another machine works for the run, and logs its own load instead of this."""
    context, monitors = _sampled.get() or (None, [])
    _finish(monitors)
    monitors.clear()
    yield
    if context is not None:
        monitors += _start(context)


def _start(context: RunContext) -> list[Any]:
    """A monitor at work; none where it cannot be, as its figures are not worth a run."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    # its errors quote the address in full, and are no errors of the run
    logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)
    try:
        monitor = SystemMetricsMonitor(
            context.run_id, resume_logging=True, tracking_uri=context.mlflow_uri
        )
        # MLflow's own has power only, of which one sample in ten seconds makes no energy
        handles = [handle for each in monitor.monitors for handle in _gpus_of(each)]
        monitor.monitors += [GpuEnergy(handles)] if handles else []
        monitor.start()
    except Exception as error:
        logger.warning("The machine's load is not logged: %s", scrubbed(str(error)))
        return []
    return [monitor]


class GpuEnergy:
    """Energy of each GPU since this was made, by its own counter, as MLflow samples it.

    Args:
        handles: NVML's, in its order; a GPU without such a counter, from before Volta, is left out.
    """

    def __init__(self, handles: Sequence[Any]) -> None:
        self._metrics: dict[str, float] = {}
        self._handles = dict(enumerate(handles))
        self._begun = self._joules()

    def collect_metrics(self) -> None:
        """Takes a sample; a GPU that gives none any more is left out from then on."""
        self._metrics = {
            f"gpu_{number}_energy_joules": round(joules - self._begun[number], 1)
            for number, joules in self._joules().items()
        }

    def aggregate_metrics(self) -> dict[str, float]:
        """The last sample, as the counter only rises."""
        return dict(self._metrics)

    def clear_metrics(self) -> None:
        """Forgets the samples."""
        self._metrics.clear()

    def _joules(self) -> dict[int, float]:
        import pynvml

        found = {}
        for number, handle in list(self._handles.items()):
            try:
                found[number] = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) * MILLIJOULE
            except pynvml.NVMLError as error:
                logger.info("The energy of GPU %d is not logged: %s", number, error)
                del self._handles[number]
        return found


def _gpus_of(monitor: Any) -> list[Any]:
    """NVML's handles that one of MLflow's monitors samples; none of one for anything else."""
    return (
        list(getattr(monitor, "gpu_handles", ())) if type(monitor).__name__ == "GPUMonitor" else []
    )


def _finish(monitors: Sequence[Any]) -> None:
    """Ends the monitor with one last sample, so that a run of seconds has one as well."""
    for monitor in monitors:
        try:
            monitor.collect_metrics()
            monitor.publish_metrics(monitor.aggregate_metrics())
        except Exception as error:
            logger.warning("The machine's last load is not logged: %s", scrubbed(str(error)))
        monitor.finish()
