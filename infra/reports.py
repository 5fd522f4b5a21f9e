"""What `roundhouse list` and `roundhouse status` show."""

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra import environment
from infra.pipelines import Pipeline, configure
from infra.presence import find_stack
from tasks import processes
from tasks.errors import ServiceError
from tasks.services import service_errors
from tasks.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MINUTE, HOUR, DAY = 60, 3600, 86400


def show_pipelines(console: "Console", pipelines: Mapping[str, Pipeline]) -> None:
    """Shows the pipelines with their dataset, model and schedule."""
    table = _table("Pipeline", "Dataset", "Model", "Schedule", "Description")
    for pipeline in pipelines.values():
        config = configure(pipeline, ())
        _add(
            table,
            pipeline.name,
            config.ingestion.dataset,
            config.model.architecture,
            "; ".join(pipeline.schedules) or "none",
            pipeline.description,
        )
    console.print(table)


def show_status(console: "Console", pipelines: Mapping[str, Pipeline], settings: Settings) -> None:
    """Shows, per pipeline, the champion, its metric and age, and how the last run ended.

    Raises:
        ServiceError: The MLflow server does not answer.
        ConfigError: It does not accept the password.
    """
    environment.apply(environment.credentials(settings))
    table = _table("Pipeline", "Champion", "Metric", "Age", "Last run", "Ended")
    is_new = settings.tracking_uri is None and not (settings.home_folder / "mlflow.db").is_file()
    for pipeline in pipelines.values():
        if is_new:
            _add(table, pipeline.name, "none", "", "", "never", "")
        else:
            metric = configure(pipeline, ()).gate.metric
            with _restarts(settings), service_errors(settings.mlflow_uri):
                _add(table, *status_of(pipeline.name, metric, settings))
    console.print(table)


@contextlib.contextmanager
def _restarts(settings: Settings) -> Iterator[None]:
    """Says of the running stack's own server that it comes back; nobody has to start it."""
    try:
        yield
    except ServiceError:
        stack = find_stack(settings)
        if stack is None or stack.mlflow != settings.tracking_uri:
            raise
        from infra.stack import LOGS

        raise ServiceError(
            f"The MLflow server at {stack.mlflow} does not answer; expected it back soon, as "
            f"`roundhouse up` (process {stack.process}) is starting it again. Try again in a "
            f"moment, or see {settings.log_folder / LOGS['MLflow']}."
        ) from None


def status_of(name: str, metric: str, settings: Settings) -> tuple[str, ...]:
    """One pipeline's line: name, champion, metric, age, last run, how it ended.

    Args:
        name: Name of the pipeline.
        metric: The gate's metric.
        settings: Places and addresses.
    """
    from tasks import tracking

    tracking.require_answer(settings.mlflow_uri, settings.timeout_seconds)
    client = tracking.client(settings.mlflow_uri)
    models = client.search_registered_models(f"name = '{name}'")
    number = models[0].aliases.get("champion") if models else None
    champion, value, age = "none", "", ""
    if number is not None:
        version = client.get_model_version(name, str(number))
        metrics = client.get_run(version.run_id).data.metrics
        champion = f"v{number}{_put_there(models[0].tags)}"
        age = _ago(version.creation_timestamp)
        value = f"{metric} {metrics[f'test/{metric}']:.4f}" if f"test/{metric}" in metrics else ""
    experiment = client.get_experiment_by_name(name)
    runs = (
        client.search_runs([experiment.experiment_id], max_results=20, order_by=["start_time DESC"])
        if experiment
        else []
    )
    # a version that was made again is no run of the pipeline
    runs = [run for run in runs if tracking.REPRODUCES_TAG not in run.data.tags]
    if not runs:
        return name, champion, value, age, "never", ""
    return name, champion, value, age, _ago(runs[0].info.start_time), _ended(runs[0])


def _put_there(tags: Mapping[str, str]) -> str:
    """Who made the champion so, where it was not the gate."""
    from tasks.history import CHAMPION, WORDS, moves_in

    last = next((move for move in reversed(moves_in(tags)) if move.change(CHAMPION)), None)
    if last is None or last.kind not in {"person", "rollback"}:
        return ""
    return f" ({WORDS[last.kind]} by {last.mover.by})"


def _ended(run: Any) -> str:
    """How a run ended, in a few words."""
    from tasks import tracking

    tags = run.data.tags
    match run.info.status:
        case "FINISHED":
            word = "promoted" if tags.get("roundhouse.promoted") == "true" else "not promoted"
            return f"finished, {word}"
        case "RUNNING":
            return _going_on(tags.get(processes.PROCESS_TAG, ""))
        case status:
            reason = tags.get(tracking.REASON_TAG) or tags.get(tracking.ENDED_TAG) or ""
            # a reason can go on for many lines; the run's page and its log have all of them
            first = reason.strip().partition("\n")[0]
            return f"{status.lower()}: {first}" if first else str(status.lower())


def _going_on(process: str) -> str:
    """Whether the process of a run that did not end is still there, as far as it can be seen."""
    host = process.rpartition(":")[0]
    if host and host != processes.this_process().rpartition(":")[0]:
        return f"still running on {host}, or its process there is gone"
    return "still running" if processes.is_alive(process) else "its process is gone"


def _ago(milliseconds: int) -> str:
    """How long ago a moment was, for a person."""
    seconds = int(datetime.now(UTC).timestamp() - milliseconds / 1000)
    if seconds < HOUR:
        return f"{max(seconds, 0) // MINUTE} min ago"
    if seconds < 2 * DAY:
        return f"{seconds // HOUR} h ago"
    return f"{seconds // DAY} days ago"


def _add(table: "Table", *cells: str) -> None:
    """Adds a row whose cells are shown as they are: a `[` in a reason is no markup."""
    from rich.text import Text

    table.add_row(*(Text(cell) for cell in cells))


def _table(*names: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table
