import pytest

from tasks import tracking
from tasks.comparison import Attempt, ComparisonPlan, attempted, conclude, measure_contender
from tasks.config import IngestionConfig, PipelineConfig
from tasks.errors import ConfigError, PermanentError, ServiceError
from tasks.handoffs import Source
from tasks.packaging import package_model

PRESETS = tuple(
    PipelineConfig(pipeline=name, ingestion=IngestionConfig(dataset="digits")) for name in "ab"
)


@pytest.fixture
def plan(context):
    source = Source(dataset="digits", location="here", files=(), digest="0" * 64)
    return ComparisonPlan(source=source, presets=PRESETS, context=context)


@pytest.fixture
def contender(context, prepare_table, train_quickly):
    prepared = prepare_table()
    trained = train_quickly(prepared)
    package = package_model.fn(context, prepared, trained)
    return measure_contender.fn(context, prepared, trained, package), prepared, package


def test_it_is_measured_on_the_validation_rows_and_on_single_rows(contender):
    found, prepared, package = contender
    assert found.rows == prepared.validation.count != prepared.test.count
    assert found.metrics["accuracy"] > 0.6
    assert 0 < found.latency_median_ms <= found.latency_p99_ms
    # a few rows come first that are not counted
    assert 0 < found.latency_rows < found.rows
    assert found.size == package.size


def test_each_preset_has_a_run_below_that_of_the_comparison(context):
    with attempted(context, PRESETS[0]) as attempt:
        assert attempt.context.pipeline == "a"
    run = tracking.client(context.mlflow_uri).get_run(attempt.entry.run_id)
    assert run.data.tags["mlflow.parentRunId"] == context.run_id
    assert run.data.params["ingestion.dataset"] == "digits"
    assert run.info.status == "FINISHED"
    parent = tracking.client(context.mlflow_uri).get_run(context.run_id)
    assert parent.info.status == "RUNNING"


def test_one_that_fails_is_told_with_its_reason_and_the_others_go_on(context):
    with attempted(context, PRESETS[0]) as attempt:
        raise ConfigError("The images are too small.")
    assert attempt.entry.failure == "The images are too small."
    run = tracking.client(context.mlflow_uri).get_run(attempt.entry.run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["roundhouse.reason"] == "The images are too small."


@pytest.mark.parametrize("error", [ServiceError("MLflow is away."), KeyboardInterrupt()])
def test_what_would_fail_the_others_too_ends_the_comparison(context, error):
    with pytest.raises(type(error)), attempted(context, PRESETS[0]):
        raise error


def test_the_ranking_is_kept_with_the_run_and_leads_to_the_runs_side_by_side(plan, contender):
    attempts = [
        Attempt(PRESETS[0], plan.context, failure="too small"),
        Attempt(PRESETS[1], plan.context, contender[0]),
    ]
    ranking = conclude(plan, attempts)
    assert [entry.preset for entry in ranking.entries] == ["b", "a"]
    client = tracking.client(plan.context.mlflow_uri)
    files = {file.path for file in client.list_artifacts(plan.context.run_id)}
    assert "ranking.json" in files
    note = client.get_run(plan.context.run_id).data.tags["mlflow.note.content"]
    assert ranking.page in note


def test_where_all_fail_the_comparison_does_and_says_each_reason(plan):
    attempts = [Attempt(preset, plan.context, failure="too small.") for preset in PRESETS]
    with pytest.raises(PermanentError, match=r"None of the 2 .* a: too small\. b: too small\."):
        conclude(plan, attempts)
