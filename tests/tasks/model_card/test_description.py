"""The card of a small run, where people find it: in the run and on the page of the version."""

import pytest

from tasks import tracking
from tasks.cards import HEADING, NOT_JUDGED, described_card, judged_card
from tasks.description import describe_model
from tasks.evidence import evidence_of
from tasks.judgement import Promotion, Rule, Verdict
from tasks.model_card.contents import card_of
from tasks.model_card.markdown import LONGEST
from tasks.model_card.measured import Measured
from tasks.registry import Registry
from tasks.storage import Storage

VERDICT = Verdict(
    promoted=True,
    rules=(Rule(name="minimum", passed=True, value=0.9, bound=0.8, reason="keeps it"),),
    reason="accuracy 0.9; promoted",
)


@pytest.fixture
def described(make_lineage, prepare_table, context):
    lineage = make_lineage(prepare_table())
    return lineage, describe_model.fn(context, lineage)


def test_the_card_is_in_the_run_and_on_the_page_of_the_version(context, described):
    lineage, made = described
    storage, shown = Storage(context.storage_uri), evidence_of(made, with_history=False).files
    assert set(shown) == {"model-card.html", "model-card.md"}
    page, text = (storage.read_bytes(file).decode() for file in (made.html, made.markdown))
    accuracy = f"{lineage.evaluation.metrics['accuracy']:.4f}"
    assert all(accuracy in found for found in (page, text))
    assert page.count("data:image/png;base64,") >= len(lineage.evaluation.pictures)
    assert " to 0." in text
    version = Registry(context).version(1).description
    assert version.startswith("Promoted: accuracy 0.9.\n")
    assert NOT_JUDGED not in version
    assert accuracy in version
    assert len(version) <= LONGEST


def test_described_again_the_page_says_the_same_and_keeps_the_verdict(context, described):
    lineage, _ = described
    registry = Registry(context)
    first = registry.version(1).description
    describe_model.fn(context, lineage)
    assert registry.version(1).description == first
    # as a run does that finds its version to be the champion already
    assert judged_card(first, lineage.promotion.verdict) == first
    registry.describe(1, f"Taken back by Ada.\n{HEADING}{first.partition(HEADING)[2]}")
    describe_model.fn(context, lineage)
    assert registry.version(1).description.startswith("Taken back by Ada.\n")


def test_drift_is_measured_against_the_lineage_of_the_champion_before(
    context, make_lineage, prepare_table
):
    first = make_lineage(prepare_table())
    tracking.log_files(context, {"lineage.json": first.model_dump_json()})
    changed = Promotion(
        verdict=VERDICT, version=2, champion_before=1, champion=2, champion_metrics={},
        compared_rows=0,
    )  # fmt: skip
    second = first.model_copy(
        update={
            "promotion": changed,
            "registered": first.registered.model_copy(update={"version": 2}),
        }
    )
    registry = Registry(context)
    registry.client.create_model_version("trial", source="file:///nowhere", run_id=context.run_id)
    made = describe_model.fn(context, second)
    text = Storage(context.storage_uri).read_bytes(made.markdown).decode()
    assert "Drift: none, the snapshot is the data of champion v1" in text


def test_a_long_card_is_cut_between_its_sections(context, described):
    lineage, _ = described
    rules = tuple(
        Rule(name=f"rule {number}", passed=True, value=1.0, bound=1.0, reason="held")
        for number in range(200)
    )
    many = VERDICT.model_copy(update={"rules": rules})
    card = card_of(context, lineage, Measured(intervals={}))
    page = described_card("", many, card)
    assert len(page) <= LONGEST
    assert page.startswith("Promoted: accuracy 0.9.")
    assert f"[The whole card, with its pictures]({context.file_page('model-card.html')})" in page
    assert "### How it does" in page
    assert page.splitlines()[-1].startswith(("|", "- "))
