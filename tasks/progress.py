"""What the Prefect UI shows of a run while it works and at its end; nothing outside of Prefect.

None of it is worth a run: while the server is away, as when it is started again, its pages lack
something, which MLflow has.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import cast
from uuid import UUID

import httpx
from prefect import runtime
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext, TaskRunContext

from tasks import tracking
from tasks.appraisal import Importance
from tasks.evidence import LARGE_WAIT_SHARE
from tasks.exports import Exports
from tasks.handoffs import RunContext

# epochs can be shorter than a call to the API; people do not look more often than this
SECONDS_BETWEEN_UPDATES = 2.0
logger = logging.getLogger(__name__)


@contextlib.contextmanager
def _where_prefect_answers() -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        logger.warning("Prefect does not answer (%r); its pages lack a part of this run", error)


class EpochReport:
    """Tells of each epoch: in the log, in MLflow, and by a bar on the page of the Prefect run.

    Args:
        context: The run.
        epochs: Epochs in all.
    """

    def __init__(self, context: RunContext, epochs: int) -> None:
        self._context = context
        self._epochs = epochs
        self._artifact: UUID | None = None
        self._last = time.monotonic()

    def catch_up(self, history: Mapping[str, Sequence[float]], epochs: int) -> None:
        """Logs to MLflow the epochs of an interrupted training, those that it does not have yet.

        Args:
            history: Per metric, its value after each epoch.
            epochs: How many of them were done before.
        """
        logged = tracking.logged_epochs(self._context, "loss") if epochs else set()
        for epoch in set(range(1, epochs + 1)) - logged:
            metrics = {name: values[epoch - 1] for name, values in history.items()}
            tracking.log_epoch(self._context, epoch, metrics)

    def __call__(self, epoch: int, metrics: dict[str, float]) -> None:
        """Tells of an epoch, counted from 1; the bar is moved at most every two seconds."""
        shown = {name: value for name, value in metrics.items() if name != "data_wait_share"}
        figures = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
        text = f"epoch {epoch} of {self._epochs}: {figures}"
        wait = metrics.get("data_wait_share", 0.0)
        if wait >= LARGE_WAIT_SHARE:
            text += f"; it waited {wait:.0%} of its time for rows"
        extra = {"event": "epoch", "epoch": epoch, "epochs": self._epochs, "metrics": shown}
        logger.info(text, extra=extra)
        tracking.log_epoch(self._context, epoch, metrics)
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_UPDATES and TaskRunContext.get() is not None:
            self._last = now
            self._move(100 * epoch / self._epochs, text)

    def finish(self, best_epoch: int) -> None:
        """Fills the bar, if it was ever shown."""
        if self._artifact is not None:
            self._move(100.0, f"best epoch {best_epoch}")

    @_where_prefect_answers()
    def _move(self, share: float, text: str) -> None:
        if self._artifact is None:
            key = f"{self._context.pipeline}-epochs"
            artifact = create_progress_artifact(share, key=key, description=text)
            self._artifact = cast(UUID, artifact)
        else:
            update_progress_artifact(self._artifact, progress=share, description=text)


@_where_prefect_answers()
def name_flow_run(name: str) -> None:
    """Gives the current flow run a name that says what it does and why; nothing outside of one."""
    if flow_run_id := runtime.flow_run.id:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(flow_run_id), name=name)


@_where_prefect_answers()
def show_summary(context: RunContext, markdown: str, rows: list[dict[str, str]]) -> None:
    """Puts the summary page and the table of metrics on the Prefect run.

    Args:
        context: The run.
        markdown: The summary.
        rows: The table, one row per metric.
    """
    if TaskRunContext.get() is None and FlowRunContext.get() is None:
        return
    links = "\n".join(f"- {line}" for line in run_links(context))
    create_markdown_artifact(
        f"{markdown}\n\n{links}", key=f"{context.pipeline}-summary", description="How the run went"
    )
    create_table_artifact(rows, key=f"{context.pipeline}-metrics", description="Test rows")


@_where_prefect_answers()
def show_slices(
    context: RunContext, slices: list[dict[str, str]], gaps: list[dict[str, str]]
) -> None:
    """Puts the tables of slices and of gaps between groups on the Prefect run, where there are any.

    Args:
        context: The run.
        slices: One row per slice.
        gaps: One row per sensitive column and figure.
    """
    if TaskRunContext.get() is None and FlowRunContext.get() is None:
        return
    told = {"slices": "Slices of the test rows", "fairness": "Gaps between groups, test rows"}
    for name, rows in (("slices", slices), ("fairness", gaps)):
        if rows:
            create_table_artifact(rows, key=f"{context.pipeline}-{name}", description=told[name])


@_where_prefect_answers()
def show_exports(context: RunContext, exports: Exports) -> None:
    """Puts the table of the exported forms on the Prefect run, where there are any.

    Args:
        context: The run.
        exports: The original, and what was made of it.
    """
    if exports.forms and (TaskRunContext.get() is not None or FlowRunContext.get() is not None):
        key, told = f"{context.pipeline}-exports", f"Test rows; [files]({context.files_page})"
        create_table_artifact(export_rows(exports), key=key, description=told)


def export_rows(exports: Exports) -> list[dict[str, str]]:
    """The exported forms as the rows of a table, as people read it."""
    return [
        {
            "form": form.form,
            "bytes": f"{form.size:,}" if form.size else "",
            "compressed": f"{form.zipped:,}" if form.zipped else "",
            "ms a row, median": _number(form.latency_median_ms),
            "p99": _number(form.latency_p99_ms),
            exports.metric: _number(form.metrics.get(exports.metric)),
            "largest difference": _number(form.largest_difference),
            "outcome": form.reason,
        }
        for form in exports.forms
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


@_where_prefect_answers()
def show_ranking(context: RunContext, rows: list[dict[str, str]], page: str) -> None:
    """Puts the table of a comparison on the Prefect run.

    Args:
        context: The run.
        rows: The table, one row per preset.
        page: Where MLflow shows their runs side by side.
    """
    if TaskRunContext.get() is None and FlowRunContext.get() is None:
        return
    key, told = f"compare-{context.pipeline}", f"Validation rows; [side by side]({page})"
    create_table_artifact(rows, key=key, description=told)


@_where_prefect_answers()
def show_importances(context: RunContext, importances: Sequence[Importance]) -> None:
    """Puts the table of what each column is worth on the Prefect run, where there is one.

    Args:
        context: The run.
        importances: The largest first.
    """
    if not importances or (TaskRunContext.get() is None and FlowRunContext.get() is None):
        return
    rows = [
        {"column": one.column, "loss": f"{one.mean:.4f}", "deviation": f"{one.deviation:.4f}"}
        for one in importances
    ]
    told = "Loss of the gate's metric when a column is shuffled"
    create_table_artifact(rows, key=f"{context.pipeline}-importances", description=told)


def run_links(context: RunContext) -> list[str]:
    """Where the run, its check report and its pictures are found in MLflow."""
    links = [
        f"[MLflow run]({context.run_page})",
        f"[Check report and pictures]({context.files_page})",
    ]
    if not context.mlflow_uri.startswith("http"):
        links.append("These pages are there while `roundhouse up` serves them")
    return links
