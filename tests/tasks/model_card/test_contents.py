"""What a card says, for each kind of problem, and what it leaves out."""

import pytest

from tasks.energy import Consumption
from tasks.handoffs import Column
from tasks.judgement import Promotion, Verdict
from tasks.model_card.contents import card_of
from tasks.model_card.data import subtitle
from tasks.model_card.markdown import whole_card
from tasks.model_card.measured import ClassFigures, Measured, Movement, Shift

NOTHING = Measured(intervals={})


@pytest.fixture(scope="module")
def kept():
    """What takes seconds to make and is only read."""
    return {}


@pytest.fixture
def lineage(kept, request):
    if not kept:
        made = request.getfixturevalue("make_lineage")
        kept["lineage"] = made(request.getfixturevalue("prepare_table")())
    return kept["lineage"]


def text_of(context, lineage, measured=NOTHING):
    return whole_card(card_of(context, lineage, measured))


def test_a_card_tells_what_it_is_for_and_how_it_came_to_be(context, lineage):
    text = text_of(context, lineage, Measured(intervals={"accuracy": (0.81, 0.97)}))
    assert text.startswith("# trial v1\n\nPredicts left: No or Yes.\n\n**Promoted.** accuracy 0.9.")
    assert "1 number: " not in text
    assert "- Given: the number `months`; the category `plan`\n" in text
    assert "| 0.8100 to 0.9700 |" in text
    assert "- ✓ Keeps the minimum of 0.8\n" in text
    assert f"- Snapshot: `{lineage.prepared.snapshot.file.sha256}`" in text
    assert "- Passed: 8 of 9, " in text
    assert "- Make it again: `roundhouse reproduce trial/1`" in text
    assert f"[MLflow run]({context.run_page})" in text
    assert "best is 2" in text
    assert "60 reproduced by a fresh process" in text
    assert "- Over HTTP: 12 rows by MLflow's scoring server" in text
    assert "- Latency: 1.5 ms for a single row, 4 ms at the 99th percentile" in text
    assert "- Memory: 50 MB more, loaded and serving" in text


def test_what_nobody_measured_is_said_to_be_so_or_left_out(context, lineage):
    card = card_of(context, lineage, NOTHING)
    text = whole_card(card)
    assert "- Energy: not measured\n" in text
    assert "Drift: not measured, as there is no champion before" in text
    assert "No slices were asked for" in text
    titles = {found.title for found in card.sections}
    assert titles & {"Slices and fairness", "What it looks at", "Smaller and elsewhere"} == set()
    assert "Interval" not in text
    assert "Period" not in text
    # of a dataset without a file nothing is told
    assert "- Data: " not in text


def test_what_was_made_up_by_no_one_is_shown_where_it_was_measured(context, lineage, told):
    changed = {
        "slices": told.slices, "explanation": told.explanation, "exports": told.exports,
        "trained": lineage.trained.model_copy(
            update={
                "consumption": Consumption(
                    cpu_seconds=75, energy_joules=7200, energy_of=("processors",)
                )
            }
        ),
    }  # fmt: skip
    text = text_of(context, lineage.model_copy(update=changed))
    assert "| plan | basic | 40 | 0.9000 | 0.8000 to 0.9600 |" in text
    assert "| plan | full | 20 | - | - |" in text
    assert "| plan | demographic parity | 0.1000 | 0.0500 to 0.2000 |" in text
    assert "plan: too few rows of a group" in text
    assert "| months | 0.3000 | 0.0200 |" in text
    assert "- ✗ litert int8 is refused: it loses 0.05 of accuracy, 0.01 at most" in text
    assert "- Energy: 2 Wh of the machine's processors meanwhile" in text
    assert "- Processor time: 1 min 15 s" in text


def test_personal_labels_are_not_shown(make_lineage, prepare_table, context):
    prepared = prepare_table()
    columns = tuple(
        column.model_copy(update={"personal": True}) if column.role == "label" else column
        for column in prepared.snapshot.columns
    )
    snapshot = prepared.snapshot.model_copy(update={"columns": columns})
    hidden = prepared.model_copy(update={"snapshot": snapshot})
    assert subtitle(hidden) == "Predicts left: class 1 or class 2"


def test_a_lost_verdict_names_its_rules_and_the_gain(context, lineage, told):
    lost = Promotion(
        verdict=Verdict(promoted=False, rules=(told.held, told.lost), reason="worse; not promoted"),
        version=1, champion_before=7, champion=7, champion_metrics={"accuracy": 0.99},
        compared_rows=60,
    )  # fmt: skip
    text = text_of(context, lineage.model_copy(update={"promotion": lost}))
    assert "**Not promoted.** worse.\n" in text
    assert "- ✗ Is worse than champion v7's\n" in text
    assert "- Gain: -0.0900 (95 % interval -0.1200 to -0.0600, p 0.001)" in text
    assert "Not for service: it has not earned the alias." in text
    assert "| champion v7 |" in text
    assert "the data of champion v7 is not there any more" in text


def test_a_trial_run_is_not_for_service(context, lineage):
    snapshot = lineage.prepared.snapshot.model_copy(update={"trial": True})
    prepared = lineage.prepared.model_copy(update={"snapshot": snapshot})
    text = text_of(context, lineage.model_copy(update={"prepared": prepared}))
    assert "Not for service: a trial run" in text
    assert "A trial run: 400 rows were asked for" in text


def test_rare_classes_and_classes_that_are_missed_are_limits(context, lineage):
    classes = (
        ClassFigures("Yes", 200, 90, 0.9, 0.8, 0.95),
        ClassFigures("No", 80, 40, 0.3, 0.2, 0.5),
        ClassFigures("Maybe", 3, 0, None),
    )
    text = text_of(context, lineage, Measured(intervals={}, classes=classes))
    assert "Fewer than 30 test rows of Maybe (0 test rows, recall unknown)" in text
    assert "Fewer than half of the rows are found of No (40 test rows, recall 0.3000)." in text


def test_drift_is_told_column_by_column(context, lineage):
    movement = Movement(
        7, 300, same=False,
        shifts=(Shift("left", 0.12, is_mean=False), Shift("months", 0.2, is_mean=True)),
    )  # fmt: skip
    text = text_of(context, lineage, Measured(intervals={}, movement=movement))
    assert "Drift since the data of champion v7 (300 rows): left moved far." in text
    assert "| left | share of rows | 12.0 % |" in text
    assert "| months | mean, in standard deviations | 0.20 |" in text
    same = Measured(intervals={}, movement=Movement(7, 300, same=True))
    assert "Drift: none, the snapshot is the data of champion v7" in text_of(context, lineage, same)


def test_a_regression_has_no_classes(make_lineage, prepare_table, context):
    lineage = make_lineage(prepare_table(problem="regression"))
    card = card_of(context, lineage, Measured(intervals={"mae": (1.0, 2.0)}))
    assert card.subtitle == "Predicts left, a number"
    assert card.figures[0][0] == "mean absolute error"
    assert card.figures[0][2] == "1.0000 to 2.0000"
    assert "Class by class" not in {found.title for found in card.sections}


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        ("token_classification", "Gives each word of a text a tag"),
        ("text_generation", "Goes on writing a text"),
    ],
)
def test_texts_have_cards_as_well(context, lineage, problem, expected):
    columns = (
        Column(name="text", role="feature", kind="text", personal=True),
        Column(name="tags", role="label", kind="text"),
    )
    snapshot = lineage.prepared.snapshot.model_copy(
        update={"problem": problem, "columns": columns, "rows": 1000}
    )
    prepared = lineage.prepared.model_copy(
        update={"snapshot": snapshot, "kind": "text", "vocabulary": 500}
    )
    metrics = {"perplexity": 12.0} if problem == "text_generation" else {"f1": 0.5}
    evaluation = lineage.evaluation.model_copy(update={"metrics": metrics, "baselines": {}})
    changed = {"prepared": prepared, "evaluation": evaluation}
    text = text_of(context, lineage.model_copy(update=changed))
    assert f"{expected}.\n" in text
    assert "- Vocabulary: 500 tokens" in text
    assert "- Given: the text `text`\n" in text
    assert ("| perplexity | 12.0000 |" in text) == (problem == "text_generation")
