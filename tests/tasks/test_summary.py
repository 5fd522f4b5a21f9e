from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks import tracking
from tasks.appraisal import Explanation, Lineage, ModelCard, Slices
from tasks.config import IngestionConfig, PipelineConfig
from tasks.exports import Exports
from tasks.handoffs import CheckedData, RunContext, Source, StoredFile
from tasks.judgement import FRESH_WEIGHTS, Difference, Promotion, Proof, Rule, Verdict
from tasks.summary import Summary, as_markdown, lineage_of, metric_rows, summarise, summarise_run

FILE = StoredFile(uri="content/aa", sha256="a" * 64, size=3)
PROOF = Proof(
    uri="models:/trial/1", rows=60, largest_difference=2e-7, tolerance=1e-4, load_seconds=0.5,
    predict_seconds=0.1,
)  # fmt: skip
PROMOTION = Promotion(
    verdict=Verdict(promoted=True, rules=(), reason="accuracy 0.9, at least 0.8; promoted"),
    version=1, champion_before=None, champion=1, champion_metrics={}, compared_rows=0,
)  # fmt: skip
LOST = Rule(
    name="not_worse", passed=False, value=0.9, bound=0.97, reason="is worse than v7",
    difference=Difference(
        value=-0.09, low=-0.12, high=-0.06, confidence=0.95, chance=0.001, rows=60
    ),
)  # fmt: skip
BEATEN = PROMOTION.model_copy(
    update={
        "verdict": Verdict(promoted=False, rules=(LOST,), reason="worse than v7"),
        "champion_before": 7, "champion": 7, "champion_metrics": {"accuracy": 0.99},
    }
)  # fmt: skip


@pytest.fixture
def made(release: Any, prepare_table: Any, train_quickly: Any) -> SimpleNamespace:
    """All that a run hands over, up to its proof."""
    prepared = prepare_table()
    prepared = prepared.model_copy(update={"warnings": ("3 rows are on both sides",)})
    made: SimpleNamespace = release(prepared)
    made.trained = train_quickly(prepared)
    made.checked = CheckedData(
        snapshot=prepared.snapshot, passed=8, total=9, warnings=("1 of 9 checks warns",),
        report=FILE, data_docs=FILE,
    )  # fmt: skip
    made.source = Source(dataset="trial", location="public address", files=(), digest="d")
    return made


@pytest.fixture
def lineage(made: SimpleNamespace) -> Lineage:
    config = PipelineConfig(pipeline="trial", ingestion=IngestionConfig(dataset="trial"))
    return lineage_of(
        config,
        source=made.source, checks=made.checked, prepared=made.prepared, initial=FRESH_WEIGHTS,
        trained=made.trained, evaluation=made.evaluation, slices=Slices(), package=made.package,
        registered=made.registered, proof=PROOF, promotion=PROMOTION, explanation=Explanation(),
        exports=Exports(),
    )  # fmt: skip


@pytest.fixture
def summary_of(context: RunContext, lineage: Lineage) -> Any:
    return lambda promotion=PROMOTION: summarise(
        context, lineage.model_copy(update={"promotion": promotion})
    )


def test_the_summary_says_what_came_of_the_run(summary_of: Any) -> None:
    summary = summary_of()
    assert (summary.rows, summary.checks) == (400, (8, 9))
    assert summary.warnings == ("1 of 9 checks warns", "3 rows are on both sides")
    assert summary.aliases == ("champion", "challenger")
    assert "reproduced 60 predictions of models:/trial/1 (largest difference 2e-07)" in (
        summary.proof
    )


def test_the_metrics_stand_beside_those_of_the_baselines(summary_of: Any) -> None:
    assert list(summary_of().metrics["accuracy"]) == ["this model", "majority", "linear"]
    row = metric_rows(summary_of())[0]
    assert (row["metric"], len(row["majority"])) == ("accuracy", 6)


def test_a_champion_that_stays_is_compared_with(summary_of: Any) -> None:
    summary = summary_of(BEATEN)
    assert summary.metrics["accuracy"]["champion v7"] == 0.99
    assert "champion v7" not in summary.metrics["log_loss"]
    assert (summary.promoted, summary.aliases) == (False, ("challenger",))


def test_a_champion_is_not_compared_with_itself(summary_of: Any) -> None:
    again = summary_of(PROMOTION.model_copy(update={"champion_before": 1}))
    assert "champion v1" not in again.metrics["accuracy"]


def test_the_page_has_the_table_the_verdict_and_the_warnings(
    summary_of: Any, made: SimpleNamespace
) -> None:
    page = as_markdown(summary_of(BEATEN), made.trained)
    assert page.startswith("# trial: trial v1\n\n**Not promoted.** worse than v7\n")
    assert "| metric | this model | majority | linear | champion v7 |\n| --- |" in page
    # what the champion was not measured by is a blank, not a missing cell
    assert all(line.count("|") == 6 for line in page.splitlines() if line.startswith("| "))
    assert (
        "- ✗ is not worse than the champion before: 0.9000, a gain of -0.0900 (95 % interval "
        "-0.1200 to -0.0600, p 0.001) on 60 rows, all of it beyond 0.9700\n"
    ) in page
    assert "- Training: best epoch 2 of 2, " in page
    assert "- Warning: 3 rows are on both sides" in page


def test_a_page_without_figures_is_a_page(made: SimpleNamespace) -> None:
    page = as_markdown(Summary(pipeline="trial", verdict="v", promoted=True), made.trained)
    assert "**Promoted.** v" in page


def test_the_run_keeps_its_lineage_and_its_summary(context: RunContext, lineage: Lineage) -> None:
    summarise_run.fn(context, lineage, ModelCard(html=FILE, markdown=FILE))
    client = tracking.client(context.mlflow_uri)
    written = Path(client.download_artifacts(context.run_id, "lineage.json")).read_text()
    assert Lineage.model_validate_json(written) == lineage
    assert lineage.prepared.snapshot.rows == 400
    note = client.get_run(context.run_id).data.tags["mlflow.note.content"]
    assert note == Path(client.download_artifacts(context.run_id, "summary.md")).read_text()
