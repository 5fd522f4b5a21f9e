"""The load of the machine while a run is at work, in MLflow beside the run's own metrics."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from tasks.handoffs import RunContext
from tasks.remote import scrubbed

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def load_logged(context: RunContext) -> Iterator[None]:
    """While it lasts, processor, memory, disk and network are sampled; no failure of it is a run's.

    Args:
        context: The run.
    """
    monitor = _start(context)
    try:
        yield
    finally:
        if monitor is not None:
            _finish(monitor)


def _start(context: RunContext) -> Any:
    """A monitor at work; None where it cannot be, as its figures are not worth a run."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    # its errors quote the address in full, and are no errors of the run
    logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)
    try:
        monitor = SystemMetricsMonitor(
            context.run_id, resume_logging=True, tracking_uri=context.mlflow_uri
        )
        monitor.start()
    except Exception as error:
        logger.warning("The machine's load is not logged: %s", scrubbed(str(error)))
        return None
    return monitor


def _finish(monitor: Any) -> None:
    """Ends the monitor with one last sample, so that a run of seconds has one as well."""
    try:
        monitor.collect_metrics()
        monitor.publish_metrics(monitor.aggregate_metrics())
    except Exception as error:
        logger.warning("The machine's last load is not logged: %s", scrubbed(str(error)))
    monitor.finish()
