"""Model cards: what the registry's pages say of a model and of each of its versions.

A version's card is short when it is registered. When it is judged, all that stands above its first
heading is replaced by the verdict; and when all is known, all that stands below by as much of the
model card as the page can hold. So each can be done again, and a crash in between leaves what was.
"""

from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import FRESH_WEIGHTS, Evaluation, InitialWeights, Rule, Verdict
from tasks.lineage import git_state, prefect_address
from tasks.model_card.data import sides
from tasks.model_card.document import Card, Code, facts, section
from tasks.model_card.figures import metrics_table
from tasks.model_card.making import commit_of, runs_of
from tasks.model_card.markdown import GAP, LONGEST, section_text
from tasks.rules import gain_in_words, rows_in_words, sentence_of

HEADING = "\n### "
NOT_JUDGED = "Not judged yet: the run that made it has not come to that, or ended before."
# what matters most of a card comes first, for as long as there is room
ON_THE_PAGE = (
    "purpose", "figures", "lineage", "limits", "slices", "training", "data", "classes",
    "explanation", "exports", "proof", "checks", "preparation",
)  # fmt: skip
# in the words of `tasks.rules`
RULES = {
    "minimum": "keeps the bound",
    "minimum_rows": "is measured on enough rows",
    "beat_baseline": "beats the simplest baseline",
    "not_worse": "is not worse than the champion before",
    "better": "is better than the champion before",
    "slice_minimum": "keeps the bound in every slice",
    "slice_loss": "loses no more than allowed in any slice",
    "parity_gap": "gives classes to all groups alike (gap of demographic parity)",
    "odds_gap": "is as right for all groups (gap of equalised odds)",
    "latency": "keeps to the milliseconds for a row",
    "size": "keeps to the megabytes of the package",
}


def model_card(name: str, dataset: str) -> str:
    """What a registered model is and how it is used.

    Args:
        name: Its name, which is the pipeline's.
        dataset: What it is trained on.
    """
    return "\n".join(
        [
            f"Models of the pipeline **{name}**, trained on the dataset **{dataset}** by "
            "Roundhouse. The alias `champion` is in service, `challenger` is the newest that was "
            "judged, `previous` was the champion before.",
            "",
            "```python",
            f'model = mlflow.pyfunc.load_model("models:/{name}@champion")',
            "model.predict(rows)  # a data frame with the columns of the source",
            "```",
        ]
    )


def version_card(
    context: RunContext,
    prepared: PreparedData,
    evaluation: Evaluation,
    initial: InitialWeights = FRESH_WEIGHTS,
) -> str:
    """What a version was trained on, how it did, and which runs made it; it is not judged yet.

    Args:
        context: The run.
        prepared: Gives the data.
        evaluation: Gives the figures of the model and of its baselines.
        initial: What its training started from.
    """
    snapshot = prepared.snapshot
    trained_on = facts(
        dataset=Code(snapshot.dataset),
        snapshot=Code(snapshot.file.sha256),
        started_from=initial.sentence or None,
        code=commit_of(git_state()),
        runs=runs_of(context, prefect_address()),
    )
    table = metrics_table(evaluation.metrics, evaluation.baselines, {})
    sections = (
        section("data", "What it was trained on", trained_on, sides(prepared)),
        section("figures", f"How it does on {evaluation.rows:,} test rows", table),
    )
    told = [section_text(found, "###", GAP) for found in sections if found]
    return "\n\n".join([NOT_JUDGED, *told])


def judged_card(card: str, verdict: Verdict) -> str:
    """A version's card with the verdict on it.

    Args:
        card: The card, whether or not it has a verdict.
        verdict: What the gate decided, by which rules.
    """
    _, heading, rest = f"\n{card}".partition(HEADING)
    return f"{_lead(verdict)}\n{heading}{rest}".strip()


def described_card(card: str, verdict: Verdict, described: Card) -> str:
    """A version's card with as much of the model card as its page can hold below the verdict.

    Args:
        card: The card, whether or not it has a verdict.
        verdict: What the gate decided; for a card that says nothing of it.
        described: The model card.
    """
    lead = f"\n{card}".partition(HEADING)[0].strip()
    lead = _lead(verdict) if not lead or lead.startswith(NOT_JUDGED) else lead
    text = "\n\n".join(
        [
            cut(lead, LONGEST // 2),
            f"### Model card\n\n[The whole card, with its pictures]({described.page})",
        ]
    )
    sections = {found.key: found for found in described.sections}
    for key in ON_THE_PAGE:
        more = f"\n\n{section_text(sections[key], '###', GAP)}" if key in sections else ""
        if len(text) + len(more) <= LONGEST:
            text += more
    return text


def _lead(verdict: Verdict) -> str:
    word = "Promoted" if verdict.promoted else "Not promoted"
    # the list of versions shows the first words, and shows them as they are
    why = sentence_of(verdict).replace("<", "&lt;")
    return "\n".join([f"{word}: {why}", "", *map(rule_line, verdict.rules)])


def rule_line(rule: Rule) -> str:
    """A rule of the gate as a line of a list: whether it held, and its numbers."""
    mark = "✓" if rule.passed else "✗"
    found = f": {_figure(rule.value)}" if rule.value is not None else ""
    bound = f", with {_figure(rule.bound)} to meet" if rule.bound is not None else ""
    if rule.difference is None:
        return f"- {mark} {RULES.get(rule.name, rule.name)}{found}{bound}"
    gain = f"a gain of {gain_in_words(rule.difference)} on {rows_in_words(rule.difference)}"
    if rule.name == "beat_baseline":
        return f"- {mark} {RULES[rule.name]}{found}, {gain}{bound}"
    limit = f", all of it beyond {_figure(rule.bound)}" if rule.bound is not None else ""
    return f"- {mark} {RULES.get(rule.name, rule.name)}{found}, {gain}{limit}"


def cut(text: str, longest: int) -> str:
    """A text of whole lines, as many as there is room for."""
    while len(text) > longest and "\n" in text:
        text = text.rpartition("\n")[0]
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.4f}"
