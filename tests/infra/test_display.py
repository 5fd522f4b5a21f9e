"""What a person sees while a pipeline runs, and at its end."""

import io
import logging
import re
import time
from typing import Any

import pytest
from rich.console import Console

from infra.display import StageDisplay, show_summary
from tasks.summary import Summary

logger = logging.getLogger("tasks.display_trial")
FIGURES = {"loss": 0.25, "val_[/loss]": 0.5}
SUMMARY = Summary(
    pipeline="churn",
    rows=1797,
    checks=(9, 10),
    warnings=("[missing/TotalCharges] 1 of 10 rows", "[/a] odd name"),
    metrics={"accuracy": {"this model": 0.9, "champion v1": 0.8}},
    verdict="accuracy 0.9 [/] not below 0.8",
    promoted=True,
    model="churn",
    version=2,
    aliases=("champion", "challenger"),
    proof="a fresh process loaded models:/churn/2",
)


@pytest.fixture(params=[True, False], ids=["terminal", "pipe"])
def console(request: Any) -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=request.param)


def text_of(console: Console) -> str:
    """All that was written, without the codes for colours and for moving the cursor."""
    written = console.file.getvalue()  # type: ignore[attr-defined]
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written)


def say(event: str, **values: Any) -> None:
    logger.info("said", extra={"event": event, "stage": "train_model", **values})


def run_a_stage(event: str = "finished") -> None:
    say("started")
    say("epoch", epoch=1, epochs=2, metrics=FIGURES)
    say(event, seconds=1.25, outcome="best epoch 1 of 2 [/]")


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="tasks")


def test_a_stage_is_shown_with_its_epochs_and_its_outcome(console: Console) -> None:
    with StageDisplay(console):
        run_a_stage()
    text = text_of(console)
    assert re.search(r"✓ train model +1\.2 s  best epoch 1 of 2 \[/\]", text)
    if not console.is_terminal:
        assert "… train model" in text
        assert "epoch 1/2  loss 0.2500  val_[/loss] 0.5000" in text


def test_on_a_terminal_a_bar_shows_the_epoch() -> None:
    terminal = Console(file=io.StringIO(), width=120, force_terminal=True)
    with StageDisplay(terminal):
        say("started")
        say("epoch", epoch=1, epochs=2, metrics=FIGURES)
        # the bar is drawn four times a second
        time.sleep(0.5)
    assert "train model" in text_of(terminal)
    assert "epoch 1/2  loss 0.2500  val_[/loss] 0.5000" in text_of(terminal)


def test_a_reused_stage_says_so(console: Console) -> None:
    with StageDisplay(console):
        run_a_stage("reused")
    assert re.search(r"= train model .*\(reused\)", text_of(console))


def test_warnings_are_shown_as_they_are_and_other_records_are_not(console: Console) -> None:
    with StageDisplay(console):
        logger.warning("The column [/a] is [odd]")
        logger.info("said in the log alone")
    text = text_of(console)
    assert "! The column [/a] is [odd]" in text
    assert "alone" not in text


def test_after_its_end_nothing_is_shown(console: Console) -> None:
    with StageDisplay(console):
        pass
    logger.warning("too late")
    assert "too late" not in text_of(console)


def test_a_record_it_cannot_show_ends_nothing(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    with StageDisplay(console):
        say("epoch")
        run_a_stage()
    assert "✓ train model" in text_of(console)


def test_the_summary_shows_names_and_sentences_as_they_are(console: Console) -> None:
    show_summary(console, SUMMARY, 12.3, "/tmp/[red]/[/x]/log")
    text = text_of(console)
    assert "Data      1,797 rows, 9 of 10 checks passed" in text
    assert "! [missing/TotalCharges] 1 of 10 rows" in text
    assert "! [/a] odd name" in text
    assert "Verdict   accuracy 0.9 [/] not below 0.8" in text
    assert "Model     churn v2, champion and challenger" in text
    assert "full log in /tmp/[red]/[/x]/log" in text
    assert re.search(r"Test +this model +champion v1\naccuracy +0\.9000 +0\.8000", text)


def test_a_model_that_was_not_promoted_and_has_no_figures_is_shown(console: Console) -> None:
    show_summary(console, SUMMARY.model_copy(update={"promoted": False, "metrics": {}}), 1, "log")
    assert "Verdict   accuracy" in text_of(console)


def test_of_a_pipeline_that_is_up_to_date_one_line_is_shown(console: Console) -> None:
    show_summary(console, Summary(pipeline="churn", up_to_date="up to date: [v1]"), 1, "log")
    assert text_of(console) == "churn is up to date: [v1]\n"


def test_where_the_pages_are_there_the_runs_own_is_shown(console: Console) -> None:
    page = "http://127.0.0.1:4200/v2/runs/flow-run/1"
    with_page = SUMMARY.model_copy(update={"page": page})
    show_summary(console, with_page, 1, "log", served=True)
    assert f"Browse    {page}\n" in text_of(console)
    show_summary(console, with_page, 1, "log")
    assert "Browse    roundhouse up: this run" in text_of(console)
