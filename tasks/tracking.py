"""The only door to MLflow runs: opened by the flow, found by id, never by what is active.

Every call carries the run's id: MLflow's active run is thread-local, and Prefect runs tasks in
threads.
"""

import contextlib
import functools
import logging
import math
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tasks.errors import RoundhouseError, ServiceError
from tasks.evidence import dataset_of, evidence_of
from tasks.handoffs import Handoff, RunContext, StoredFile
from tasks.monitor import load_logged
from tasks.processes import PROCESS_TAG, is_alive, is_at_work, left_behind, take_over
from tasks.remote import basic_login, scrubbed, shown
from tasks.services import service_errors
from tasks.storage import Storage

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

# more than so many are refused
METRICS_PER_CALL = 1000
PARENT_TAG = "mlflow.parentRunId"
FINGERPRINT_TAG = "roundhouse.fingerprint"
# on a run that made a version again: its address
REPRODUCES_TAG = "roundhouse.reproduces"
REASON_TAG, NOTE_TAG = "roundhouse.reason", "mlflow.note.content"
ENDED_TAG = "roundhouse.ended"
logger = logging.getLogger(__name__)


def client(uri: str) -> "MlflowClient":
    """A client for tracking and registry at one address; made once per address.

    Args:
        uri: An http(s) address, or `sqlite:///` and a path whose folder exists.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with service_errors(uri):
        return _client(uri)


def require_answer(uri: str, timeout_seconds: float) -> None:
    """Makes sure that an MLflow server answers, before its client tries for minutes.

    Raises:
        ServiceError: Nothing at the address says that it is healthy in time.
    """
    if not uri.startswith(("http://", "https://")):
        return
    parts = urlsplit(uri)
    request = urllib.request.Request(f"{shown(uri).rstrip('/')}/health")
    if parts.username:
        # urllib takes a user in the address for a part of the host
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", basic_login(login))
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds):
            return
    except (urllib.error.URLError, OSError) as error:
        raise ServiceError(
            f"The MLflow server at {shown(uri)} does not answer "
            f"({getattr(error, 'reason', error)}); expected an answer in "
            f"{timeout_seconds:g} s. "
            "Start it, or correct ROUNDHOUSE_TRACKING_URI; unset, the home's database is used."
        ) from None


def open_experiment(uri: str, name: str, artifacts: str | None) -> str:
    """The id of the experiment with a name, made if there is none.

    Args:
        uri: Address of the tracking store.
        name: Name of the pipeline.
        artifacts: Folder or address to which a new one adds its name; None: the server decides.
    """
    with _service(uri) as service:
        found = service.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = f"{artifacts.rstrip('/')}/{name}" if artifacts else None
    location = Path(location).as_uri() if location and "://" not in location else location
    # without the kind, MLflow's pages open on those for language models
    kind = {"mlflow.experimentKind": "custom_model_development"}
    with _service(uri) as service:
        return str(service.create_experiment(name, artifact_location=location, tags=kind))


def open_run(
    uri: str,
    experiment_id: str,
    name: str,
    params: Mapping[str, str],
    tags: Mapping[str, str],
) -> str:
    """Opens a run, or reopens the one with the same fingerprint whose process is gone.

    Runs of other fingerprints that their process left open are marked as killed. A run with a
    parent is always a new one.

    Returns:
        The run's id.
    """
    from mlflow.entities import Param

    found = [Param(key, value[:6000]) for key, value in params.items()]
    with _service(uri) as service:
        for run in left_behind(service, experiment_id, tags) if PARENT_TAG not in tags else ():
            if is_at_work(run.data.tags, tags):
                continue
            if run.data.tags.get(FINGERPRINT_TAG) == tags[FINGERPRINT_TAG]:
                take_over(service, run, tags, (REASON_TAG, NOTE_TAG))
                missing = [param for param in found if param.key not in run.data.params]
                service.log_batch(run.info.run_id, params=missing)
                logger.info("Going on with run %s, which was interrupted", run.info.run_name)
                return str(run.info.run_id)
            service.set_tag(run.info.run_id, ENDED_TAG, "its process ended without a word")
            service.set_terminated(run.info.run_id, "KILLED")
        run_id = str(service.create_run(experiment_id, run_name=name, tags=dict(tags)).info.run_id)
        service.log_batch(run_id, params=found)
    return run_id


@contextlib.contextmanager
def recorded(context: RunContext) -> Iterator[RunContext]:
    """While it lasts, the machine's load is logged; at its end, the run says how it went."""
    try:
        with load_logged(context):
            yield context
    except BaseException as error:
        fail_run(context.mlflow_uri, context.run_id, error)
        raise
    with _service(context.mlflow_uri) as service:
        service.set_terminated(context.run_id, "FINISHED")


def fail_run(uri: str, run_id: str, error: BaseException) -> None:
    """Marks a run as failed, or as killed where it was interrupted, and says why."""
    is_failure = isinstance(error, Exception)
    said = str(error) if isinstance(error, RoundhouseError) else f"{type(error).__name__}: {error}"
    reason = scrubbed(said)[:4000]
    try:
        with _service(uri) as service:
            service.set_tag(run_id, REASON_TAG, reason)
            service.set_tag(run_id, NOTE_TAG, f"**Failed.** {reason}")
            service.set_terminated(run_id, "FAILED" if is_failure else "KILLED")
    except Exception:
        # the failure itself matters more than that it could not be recorded
        logger.exception("The failure of run %s could not be recorded", run_id)


def log_handoff(context: RunContext, stage: str, handoff: Handoff, *, recalled: bool) -> None:
    """Logs what a hand-off shows: parameters, metrics, files, the dataset, and the hand-off itself.

    Args:
        context: The run.
        stage: Name of the stage that handed over.
        handoff: What it handed over.
        recalled: Whether an earlier run had made it; then its history per epoch is logged too,
            which a stage that works logs while it works.
    """
    from mlflow.entities import Dataset as DatasetEntity
    from mlflow.entities import DatasetInput, InputTag, Metric, RunTag

    now, evidence = int(time.time() * 1000), evidence_of(handoff, with_history=recalled)
    metrics = [Metric(n, value, now, step) for n, value, step in evidence.metrics]
    tags = [RunTag(name, value[:8000]) for name, value in evidence.tags.items()]
    with _service(context.mlflow_uri) as service:
        service.log_batch(context.run_id, tags=tags)
        _log_metrics(service, context.run_id, metrics)
    files: dict[str, StoredFile | str] = dict(evidence.files)
    files[f"handoffs/{stage}.json"] = handoff.model_dump_json(indent=2)
    log_files(context, files)
    if dataset := dataset_of(handoff):
        entity = DatasetEntity(**dataset)
        tag = InputTag("mlflow.data.context", "training")
        with _service(context.mlflow_uri) as service:
            service.log_inputs(context.run_id, [DatasetInput(entity, [tag])])


def log_files(context: RunContext, files: Mapping[str, StoredFile | str]) -> None:
    """Logs files as artefacts of the run.

    Args:
        context: The run.
        files: Per path among the artefacts, a stored file or the text itself.
    """
    storage = Storage(context.storage_uri)
    with storage.workspace() as folder:
        for name, content in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, StoredFile):
                shutil.copyfile(storage.path(content), target)
            else:
                target.write_text(content)
        with _service(context.mlflow_uri) as service:
            service.log_artifacts(context.run_id, str(folder))


def log_evidence(context: RunContext, error: RoundhouseError) -> None:
    """Logs the files that a failure carries, above all the check report."""
    files = {name: file for name, file in error.evidence.items() if isinstance(file, StoredFile)}
    if files:
        log_files(context, files)


def log_epoch(context: RunContext, epoch: int, metrics: Mapping[str, float]) -> None:
    """Logs the metrics of one epoch, counted from 1, while the training goes on."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    found = [Metric(name, float(v), now, epoch) for name, v in metrics.items() if math.isfinite(v)]
    with _service(context.mlflow_uri) as service:
        service.log_batch(context.run_id, metrics=found)


def log_history(context: RunContext, history: Mapping[str, Sequence[float]]) -> None:
    """Logs the metrics of all epochs at once, of a training that tells of none while it goes on."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    points = [
        Metric(name, float(value), now, epoch)
        for name, values in history.items()
        for epoch, value in enumerate(values, start=1)
    ]
    with _service(context.mlflow_uri) as service:
        _log_metrics(service, context.run_id, points)


def logged_epochs(context: RunContext, metric: str) -> set[int]:
    """The epochs, counted from 1, for which the run has a value of a metric."""
    with _service(context.mlflow_uri) as service:
        history = service.get_metric_history(context.run_id, metric)
    return {int(point.step) for point in history}


def log_stage_seconds(context: RunContext, stage: str, seconds: float) -> None:
    """Logs how long a stage took."""
    with _service(context.mlflow_uri) as service:
        service.log_metric(context.run_id, f"seconds/{stage}", seconds)


def describe_run(context: RunContext, markdown: str) -> None:
    """Puts a text on the run's page."""
    with _service(context.mlflow_uri) as service:
        service.set_tag(context.run_id, NOTE_TAG, markdown)


def _log_metrics(service: "MlflowClient", run_id: str, metrics: Sequence["Metric"]) -> None:
    """Logs metrics, those that are not finite left out, in as many calls as MLflow needs."""
    finite = [metric for metric in metrics if math.isfinite(metric.value)]
    for start in range(0, len(finite), METRICS_PER_CALL):
        service.log_batch(run_id, metrics=finite[start : start + METRICS_PER_CALL])


@contextlib.contextmanager
def _service(uri: str) -> "Iterator[MlflowClient]":
    """The client; what it raises while MLflow is away becomes a sentence."""
    with service_errors(uri):
        yield client(uri)


@functools.cache
def _client(uri: str) -> "MlflowClient":
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def is_left_open(uri: str, name: str, fingerprint: str) -> bool:
    """Whether a pipeline has an open run of a fingerprint whose process is gone.

    Args:
        uri: Address of the tracking store.
        name: Name of the pipeline.
        fingerprint: Of what the run trains from.
    """
    with _service(uri) as service:
        experiment = service.get_experiment_by_name(name)
        wanted = f"attributes.status = 'RUNNING' and tags.`{FINGERPRINT_TAG}` = '{fingerprint}'"
        runs = service.search_runs([experiment.experiment_id], wanted) if experiment else []
    return any(not is_alive(run.data.tags.get(PROCESS_TAG, "")) for run in runs)
