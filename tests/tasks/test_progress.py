"""What Prefect shows of a run: asked of a real server, after a flow that shows it."""

import json
import logging
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from prefect import flow, task
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks import progress, tracking
from tasks.exports import ExportedModel, Exports
from tasks.handoffs import RunContext
from tasks.progress import (
    EpochReport,
    name_flow_run,
    run_links,
    show_exports,
    show_slices,
    show_summary,
)

EXPORTS = Exports(
    metric="accuracy",
    forms=(
        ExportedModel(form="original", size=2000, zipped=1500, metrics={"accuracy": 0.9}),
        ExportedModel(form="litert int8", reason="could not be made: no such operation"),
    ),
)
ROWS = [{"metric": "accuracy", "this model": "0.9000"}]


@pytest.fixture
def prefect(prefect_server: str) -> Iterator[Callable[..., Any]]:
    """While it lasts, flows report to the server; asks it: (path, **filter) -> JSON."""

    def ask(path: str, **body: Any) -> Any:
        request = urllib.request.Request(
            f"{prefect_server}/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield ask


def artifacts(prefect: Callable[..., Any], key: str) -> list[Any]:
    return [a["data"] for a in prefect("artifacts/filter", artifacts={"key": {"any_": [key]}})]


def test_each_epoch_is_logged_and_counted(
    context: RunContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="tasks.progress")
    EpochReport(context, epochs=2)(1, {"loss": 0.5})
    assert caplog.messages == ["epoch 1 of 2: loss 0.5"]
    assert tracking.logged_epochs(context, "loss") == {1}


def test_the_share_of_waiting_is_logged_and_told_where_it_is_large(
    context: RunContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="tasks.progress")
    report = EpochReport(context, epochs=2)
    for epoch, share in ((1, 0.03), (2, 0.43)):
        report(epoch, {"loss": 0.5, "data_wait_share": share})
    assert caplog.messages == [
        "epoch 1 of 2: loss 0.5",
        "epoch 2 of 2: loss 0.5; it waited 43% of its time for rows",
    ]
    assert tracking.logged_epochs(context, "data_wait_share") == {1, 2}


def test_epochs_of_an_interrupted_training_are_logged_once(context: RunContext) -> None:
    report = EpochReport(context, epochs=5)
    report(1, {"loss": 0.9})
    report.catch_up({"loss": [0.9, 0.8, 0.7]}, epochs=3)
    report.catch_up({}, epochs=0)
    history = tracking.client(context.mlflow_uri).get_metric_history(context.run_id, "loss")
    assert sorted((point.step, point.value) for point in history) == [(1, 0.9), (2, 0.8), (3, 0.7)]


def test_in_a_task_a_bar_shows_the_epochs(
    context: RunContext, prefect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_UPDATES", 0.0)

    @task
    def learn() -> None:
        report = EpochReport(context, epochs=4)
        report(1, {"loss": 0.5})
        report(2, {"loss": 0.4})
        report.finish(best_epoch=2)

    @flow(name="bar")
    def train() -> None:
        learn()

    train()
    (share,) = artifacts(prefect, "trial-epochs")
    assert float(share) == 100.0


def test_a_bar_that_was_never_shown_is_not_filled(context: RunContext) -> None:
    EpochReport(context, epochs=4).finish(best_epoch=2)


def test_a_flow_run_is_named_and_shows_summary_table_and_links(
    context: RunContext, prefect: Any
) -> None:
    @flow(name="shown")
    def show() -> None:
        name_flow_run("trial: first training")
        show_summary(context, "# How it went", ROWS)
        show_slices(context, ROWS, [])
        show_exports(context, EXPORTS)

    show()
    (page,) = artifacts(prefect, "trial-summary")
    assert page.startswith("# How it went\n\n- [MLflow run](http://127.0.0.1:5000/#/experiments/")
    assert f"/runs/{context.run_id}" in page
    assert [json.loads(table) for table in artifacts(prefect, "trial-metrics")] == [ROWS]
    assert [json.loads(table) for table in artifacts(prefect, "trial-slices")] == [ROWS]
    assert artifacts(prefect, "trial-fairness") == []
    (exports,) = map(json.loads, artifacts(prefect, "trial-exports"))
    assert [row["form"] for row in exports] == ["original", "litert int8"]
    assert (exports[0]["bytes"], exports[0]["accuracy"]) == ("2,000", "0.9")
    assert exports[1]["outcome"] == "could not be made: no such operation"
    names = [run["name"] for run in prefect("flow_runs/filter", sort="START_TIME_DESC")]
    assert "trial: first training" in names


def test_outside_of_prefect_nothing_is_shown(context: RunContext) -> None:
    name_flow_run("nobody's")
    show_summary(context, "# nothing", ROWS)
    show_slices(context, ROWS, ROWS)
    show_exports(context, EXPORTS)


def test_of_a_home_the_links_say_how_to_open_them(context: RunContext) -> None:
    assert run_links(context)[-1] == "These pages are there while `roundhouse up` serves them"
    server = context.model_copy(update={"mlflow_uri": "http://models.example"})
    assert len(run_links(server)) == 2


def test_a_server_that_is_away_for_long_costs_its_pages_and_no_run(
    context: RunContext, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise httpx.ConnectError("All connection attempts failed")

    # what Prefect's client raises once it has tried again for a minute
    monkeypatch.setattr(progress, "create_progress_artifact", gone)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_UPDATES", 0.0)
    monkeypatch.setattr(progress.TaskRunContext, "get", lambda: True)
    EpochReport(context, epochs=2)(1, {"loss": 0.5})
    assert "its pages lack a part of this run" in caplog.messages[-1]
    assert tracking.logged_epochs(context, "loss") == {1}
