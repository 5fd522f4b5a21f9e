"""Presets of one dataset side by side: trained on the same rows, ranked on the validation rows.

The test rows are left alone: they judge the one that is chosen, and would not be new to it any more
if they had chosen it. Nothing is registered, and no alias moves.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tasks import gate, processes, tracking
from tasks.config import PipelineConfig
from tasks.contenders import Contender, Entry, Ranking
from tasks.datasets import get_dataset
from tasks.errors import PermanentError, RoundhouseError, ServiceError
from tasks.fingerprints import values_digest
from tasks.freshness import locate_source
from tasks.handoffs import Handoff, PreparedData, RunContext, Source
from tasks.home import prepare_home
from tasks.judgement import Package, TrainedModel
from tasks.judging import open_rows, predict
from tasks.latency import time_single_rows
from tasks.lineage import describe_surroundings
from tasks.metrics import measure
from tasks.models.archive import load_network
from tasks.parameters import parameters_of
from tasks.presets import on_the_same_rows
from tasks.progress import name_flow_run, show_ranking
from tasks.ranking import compare_page, ranked, ranking_rows
from tasks.remote import scrubbed
from tasks.settings import Settings
from tasks.stages import stage
from tasks.storage import Storage

FAILURE_SHOWN = 500
logger = logging.getLogger(__name__)


class ComparisonPlan(Handoff):
    """What a comparison will do.

    Args:
        source: The source files.
        presets: With the first one's data, checks, split and gate.
        context: The comparison's run.
    """

    source: Source
    presets: tuple[PipelineConfig, ...]
    context: RunContext


@dataclass
class Attempt:
    """One preset's turn.

    Args:
        preset: Its configuration.
        context: Its run, nested in that of the comparison.
        contender: What it came to, once it has.
        failure: Why it came to nothing.
    """

    preset: PipelineConfig
    context: RunContext
    contender: Contender | None = None
    failure: str = ""

    @property
    def entry(self) -> Entry:
        """What is kept of it."""
        return Entry(
            preset=self.preset.pipeline,
            architecture=self.preset.model.architecture,
            run_id=self.context.run_id,
            contender=self.contender,
            failure=self.failure,
        )


def plan_comparison(presets: Sequence[PipelineConfig], settings: Settings) -> ComparisonPlan:
    """Finds the source files and opens the run of a comparison.

    Raises:
        ConfigError: There are fewer than two presets, or they are of several datasets.
        SourceError: The source files are missing or damaged.
        ServiceError: A service does not answer.
    """
    presets = on_the_same_rows(presets)
    first = presets[0]
    prepare_home(settings)
    gate.require_known(first.gate.metric, get_dataset(first.ingestion.dataset).problem)
    tracking.require_answer(settings.mlflow_uri, settings.timeout_seconds)
    artifacts = None if settings.tracking_uri else settings.artifact_root
    name = f"compare-{first.ingestion.dataset.replace('_', '-')}"
    experiment_id = tracking.open_experiment(settings.mlflow_uri, name, artifacts)
    source = locate_source(first, settings)
    title = f"{' and '.join(preset.pipeline for preset in presets)} by {first.gate.metric}"
    tags = {
        "mlflow.source.name": "flows.comparing.compare",
        processes.PROCESS_TAG: processes.this_process(),
        "roundhouse.fingerprint": values_digest(*presets, source.digest),
        **describe_surroundings(),
    }
    params = {"dataset": first.ingestion.dataset, "metric": first.gate.metric}
    name_flow_run(title)
    run_id = tracking.open_run(settings.mlflow_uri, experiment_id, title, params, tags)
    context = RunContext(
        pipeline=first.pipeline,
        run_id=run_id,
        experiment_id=experiment_id,
        mlflow_uri=settings.mlflow_uri,
        mlflow_pages=settings.mlflow_pages,
        storage_uri=settings.storage_uri,
    )
    return ComparisonPlan(source=source, presets=presets, context=context)


@contextlib.contextmanager
def attempted(context: RunContext, preset: PipelineConfig) -> Iterator[Attempt]:
    """While it lasts, a preset is tried in a run of its own; if it fails, the others go on.

    Raises:
        ServiceError: A service does not answer; the others would fail as well.
    """
    tags = {
        processes.PROCESS_TAG: processes.this_process(),
        tracking.PARENT_TAG: context.run_id,
        "roundhouse.fingerprint": "",
    }
    run_id = tracking.open_run(
        context.mlflow_uri, context.experiment_id, preset.pipeline, parameters_of(preset), tags
    )
    attempt = Attempt(
        preset, context.model_copy(update={"run_id": run_id, "pipeline": preset.pipeline})
    )
    logger.info(preset.pipeline, extra={"event": "preset", "preset": preset.pipeline})
    try:
        with tracking.recorded(attempt.context):
            yield attempt
    except ServiceError:
        raise
    except Exception as error:  # of any library: one preset that cannot be trained is a finding
        told = isinstance(error, RoundhouseError)
        # the words of another library's error may quote a row; they are in the log alone
        sentence = str(error) if told else f"{type(error).__name__}; its words are in the log"
        attempt.failure = scrubbed(sentence)[:FAILURE_SHOWN]
        logger.warning("%s failed: %s", preset.pipeline, attempt.failure, exc_info=not told)


@stage(
    # how long a row takes is of this machine and hour, so it is measured each time
    reuse=False,
    code=(
        "tasks.features",
        "tasks.generation",
        "tasks.judging",
        "tasks.latency",
        "tasks.metrics",
        "tasks.models.archive",
        "tasks.outputs",
        "tasks.served_rows",
        "tasks.sequence_metrics",
        "tasks.served",
        "tasks.texts",
    ),
)
def measure_contender(
    context: RunContext, prepared: PreparedData, trained: TrainedModel, package: Package
) -> Contender:
    """Predicts the validation rows, and times single raw rows through the packaged code."""
    storage = Storage(context.storage_uri)
    rows = open_rows(storage, prepared, prepared.validation)
    predictions = predict(load_network(storage.path(trained.network)), rows)
    times = time_single_rows(storage, package, prepared)
    problem = prepared.snapshot.problem
    return Contender(
        rows=len(rows.truth),
        metrics=measure(problem, rows.truth, predictions, classes=prepared.classes),
        parameters=trained.parameters,
        size=package.size,
        seconds=trained.seconds,
        latency_median_ms=float(np.median(times)),
        latency_p99_ms=float(np.percentile(times, 99)),
        latency_rows=len(times),
    )


def conclude(plan: ComparisonPlan, attempts: Sequence[Attempt]) -> Ranking:
    """Ranks the presets, and shows them in MLflow and in Prefect.

    Raises:
        PermanentError: None of them could be trained.
    """
    first, context = plan.presets[0], plan.context
    entries = ranked([attempt.entry for attempt in attempts], first.gate.metric)
    ranking = Ranking(
        dataset=first.ingestion.dataset,
        metric=first.gate.metric,
        entries=entries,
        run_id=context.run_id,
        page=compare_page(context, entries),
    )
    tracking.log_files(context, {"ranking.json": ranking.model_dump_json(indent=2)})
    if entries[0].contender is None:
        reasons = " ".join(f"{entry.preset}: {entry.failure}" for entry in entries)
        raise PermanentError(f"None of the {len(entries)} presets could be trained. {reasons}")
    tracking.describe_run(context, f"[The runs side by side]({ranking.page})")
    show_ranking(context, ranking_rows(ranking), ranking.page)
    logger.info("%s is the best by %s", entries[0].preset, ranking.metric)
    return ranking
