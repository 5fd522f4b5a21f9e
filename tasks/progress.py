"""What the Prefect UI shows of a run while it works and at its end; nothing outside of Prefect."""

import logging
import time
from typing import cast
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext, TaskRunContext

from tasks import tracking
from tasks.handoffs import RunContext

# epochs can be shorter than a call to the API; people do not look more often than this
SECONDS_BETWEEN_UPDATES = 2.0
logger = logging.getLogger(__name__)


class EpochProgress:
    """A bar over epochs on the page of the Prefect run, moved at most every two seconds.

    Args:
        pipeline: Name of the pipeline; part of the bar's key, so that it has a history.
        epochs: Epochs in all.
    """

    def __init__(self, pipeline: str, epochs: int) -> None:
        self._key = f"{pipeline}-epochs"
        self._epochs = epochs
        self._artifact: UUID | None = None
        self._last = time.monotonic()
        self._is_shown = TaskRunContext.get() is not None

    def update(self, epoch: int, text: str) -> None:
        """Moves the bar to an epoch, counted from 1, unless it was moved a moment ago."""
        now = time.monotonic()
        if self._is_shown and now - self._last >= SECONDS_BETWEEN_UPDATES:
            self._last = now
            self._move(100 * epoch / self._epochs, text)

    def finish(self, text: str) -> None:
        """Fills the bar, if it was ever shown."""
        if self._artifact is not None:
            self._move(100.0, text)

    def _move(self, share: float, text: str) -> None:
        if self._artifact is None:
            artifact = create_progress_artifact(share, key=self._key, description=text)
            self._artifact = cast(UUID, artifact)
        else:
            update_progress_artifact(self._artifact, progress=share, description=text)


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


def run_links(context: RunContext) -> list[str]:
    """Where the run is found in MLflow: a link where there is a server, else how to start one."""
    place = f"#/experiments/{context.experiment_id}/runs/{context.run_id}"
    uri = tracking.without_credentials(context.mlflow_uri)
    if uri.startswith("http"):
        address = uri.rstrip("/")
        return [
            f"[MLflow run]({address}/{place})",
            f"[Check report and pictures]({address}/{place}/artifacts)",
        ]
    return [f"MLflow run `{context.run_id}` in `{uri}`; its artefacts hold the check report"]
