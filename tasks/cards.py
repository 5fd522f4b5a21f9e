"""Model cards: what the registry's pages say of a model and of each of its versions.

A version's card is written when it is registered. When it is judged, all that stands above its
first heading is replaced by the verdict; so it can be done again, and a crash in between leaves
the first text.
"""

from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import FRESH_WEIGHTS, Evaluation, InitialWeights, Rule, Verdict
from tasks.lineage import git_state, prefect_address
from tasks.rules import gain_in_words, rows_in_words

TRAINED = "### What it was trained on"
NOT_JUDGED = "Not judged yet: the run that made it has not come to that, or ended before."
COMMIT_SHOWN = 12
# the pages leave no room between columns
GAP = "&ensp;"
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
    rows = (
        f"{prepared.train.count:,} of {snapshot.rows:,} rows of **{snapshot.dataset}**; "
        f"{prepared.validation.count:,} decided when to stop, {prepared.test.count:,} test it"
    )
    return "\n".join(
        [
            NOT_JUDGED,
            "",
            TRAINED,
            "",
            f"- Rows: {rows}",
            f"- Snapshot: `{snapshot.file.sha256}`",
            *([f"- Started from: `{initial.sentence}`"] if initial.address else []),
            f"- Code: {_commit()}",
            f"- Runs: {', '.join(_runs(context))}",
            "",
            f"### How it does on {evaluation.rows:,} test rows",
            "",
            *_figures(evaluation),
        ]
    )


def judged_card(card: str, verdict: Verdict) -> str:
    """A version's card with the verdict on it.

    Args:
        card: The card, whether or not it has a verdict.
        verdict: What the gate decided, by which rules.
    """
    word = "Promoted" if verdict.promoted else "Not promoted"
    # the list of versions shows the first words, and shows them as they are
    why = verdict.reason.removesuffix(f"; {word.lower()}")
    _, heading, rest = card.partition(TRAINED)
    lines = [f"{word}: {why}.", "", *map(rule_line, verdict.rules), "", heading + rest]
    return "\n".join(lines).strip()


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


def _commit() -> str:
    state = git_state()
    commit = state.get("mlflow.source.git.commit", "")
    if not commit:
        return "not under version control"
    dirty = state["roundhouse.git_dirty"] == "true"
    return f"commit `{commit[:COMMIT_SHOWN]}`{', and changes on top of it' if dirty else ''}"


def _runs(context: RunContext) -> list[str]:
    address = prefect_address()
    prefect = [f"[Prefect run]({address})"] if address else []
    return [f"[MLflow run]({context.run_page})", *prefect]


def _figures(evaluation: Evaluation) -> list[str]:
    whose = {"this model": evaluation.metrics, **evaluation.baselines}
    head = [f"{GAP}{name.replace('_', ' ')}" for name in whose]
    rows = [
        [metric, *(f"{GAP}{_figure(found.get(metric))}" for found in whose.values())]
        for metric in evaluation.metrics
    ]
    return [
        f"| {' | '.join(['Metric', *head])} |",
        "| --- " + "| ---: " * len(head) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.4f}"
