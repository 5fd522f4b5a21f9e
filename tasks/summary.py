"""From all hand-offs of a run: its lineage, and the summary a person reads in the morning."""

from pydantic import Field

from tasks import tracking
from tasks.appraisal import Lineage, ModelCard
from tasks.cards import rule_line
from tasks.config import PipelineConfig
from tasks.evidence import service_in_words, training_in_words, waiting_in_words
from tasks.handoffs import Handoff, RunContext
from tasks.judgement import Rule, TrainedModel
from tasks.lineage import describe_surroundings, prefect_address
from tasks.metrics import MAIN
from tasks.parameters import shown_configuration
from tasks.progress import show_exports, show_importances, show_slices, show_summary
from tasks.registry import RECORDED, Registry
from tasks.slice_tables import gap_rows, slice_rows, slices_in_words
from tasks.stages import stage


class Summary(Handoff):
    """What a run came to.

    Args:
        pipeline: Name of the pipeline.
        up_to_date: A sentence, where nothing was to be done; the rest is empty then.
        run_id: Id of the MLflow run.
        rows: Rows checked.
        checks: Checks passed, and checks in all.
        warnings: One sentence for each thing that was noticed and did not stop the run.
        metrics: Per metric: this model, each baseline, and the champion, by their names.
        verdict: Why the model became the champion or did not.
        rules: The rules by which that was decided.
        promoted: Whether it did.
        model: Name of the registered model.
        version: Its version.
        aliases: The aliases that the version has now.
        slices: Sentences on the worst slice of the test rows, and on gaps between groups.
        exports: One sentence for each form that the network was exported in.
        proof: One sentence on the fresh process that loaded the version.
        page: Address of the run in the Prefect pages, which leads on to MLflow's.
    """

    pipeline: str
    up_to_date: str = ""
    run_id: str = ""
    rows: int = 0
    checks: tuple[int, int] = (0, 0)
    warnings: tuple[str, ...] = ()
    metrics: dict[str, dict[str, float]] = Field(default_factory=dict)
    verdict: str = ""
    rules: tuple[Rule, ...] = ()
    promoted: bool = False
    model: str = ""
    version: int = 0
    aliases: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    exports: tuple[str, ...] = ()
    proof: str = ""
    page: str = ""


def lineage_of(config: PipelineConfig, **handoffs: Handoff) -> Lineage:
    """All of a run's hand-offs in one.

    Args:
        config: What was configured; an address in it is kept without what it could hide.
        **handoffs: The hand-offs, by the names of the fields of `Lineage`.
    """
    return Lineage.model_validate(
        {
            "configuration": shown_configuration(config),
            "surroundings": describe_surroundings(),
            **handoffs,
        }
    )


@stage(
    code=(
        "tasks.metrics",
        "tasks.outputs",
        "tasks.registry",
        "tasks.sequence_metrics",
        "tasks.slice_tables",
    ),
    reuse=False,
)
def summarise_run(context: RunContext, lineage: Lineage, card: ModelCard) -> Summary:
    """Logs lineage.json and summary.md, and shows the summary in Prefect with links both ways.

    The version is then tagged with the run that holds them; until it is, it is not done.
    """
    summary = summarise(context, lineage)
    markdown = as_markdown(summary, lineage.trained)
    tracking.log_files(
        context, {"lineage.json": lineage.model_dump_json(indent=2), "summary.md": markdown}
    )
    link = f"\n- Prefect: [{summary.page}]({summary.page})" if summary.page else ""
    tracking.describe_run(context, markdown + link)
    show_summary(context, markdown, metric_rows(summary))
    show_importances(context, lineage.explanation.importances)
    show_slices(context, slice_rows(lineage.slices), gap_rows(lineage.slices))
    show_exports(context, lineage.exports)
    Registry(context).tag(summary.version, {RECORDED: context.run_id})
    return summary


def summarise(context: RunContext, lineage: Lineage) -> Summary:
    """The summary of a run from its hand-offs."""
    checked, prepared, evaluation = lineage.checks, lineage.prepared, lineage.evaluation
    registered, proof, promotion = lineage.registered, lineage.proof, lineage.promotion
    compared = {"this model": evaluation.metrics, **evaluation.baselines}
    if promotion.champion_before not in (None, promotion.version):
        compared[f"champion v{promotion.champion_before}"] = promotion.champion_metrics
    is_champion = promotion.champion == promotion.version
    return Summary(
        pipeline=context.pipeline,
        run_id=context.run_id,
        rows=checked.snapshot.rows,
        checks=(checked.passed, checked.total),
        warnings=(
            *checked.snapshot.warnings,
            *checked.warnings,
            *prepared.warnings,
            *waiting_in_words(lineage.trained),
        ),
        metrics={
            name: {who: figures[name] for who, figures in compared.items() if name in figures}
            for name in MAIN
            if name in evaluation.metrics
        },
        verdict=promotion.verdict.reason,
        rules=promotion.verdict.rules,
        promoted=promotion.verdict.promoted,
        model=registered.name,
        version=registered.version,
        aliases=("champion", "challenger") if is_champion else ("challenger",),
        slices=slices_in_words(lineage.slices),
        exports=tuple(form.sentence for form in lineage.exports.made),
        proof=f"a fresh process, with its requirements alone, reproduced {proof.rows} predictions "
        f"of {proof.uri} (largest difference {proof.largest_difference:.1g}) and refused "
        f"{proof.refused_rows} broken rows; {service_in_words(proof)}",
        page=prefect_address(),
    )


def metric_rows(summary: Summary) -> list[dict[str, str]]:
    """The metrics as the rows of a table: the metric, then one column per model."""
    return [
        {"metric": name, **{who: f"{value:.4f}" for who, value in figures.items()}}
        for name, figures in summary.metrics.items()
    ]


def as_markdown(summary: Summary, trained: TrainedModel) -> str:
    """The summary as a page; links are added where it is shown."""
    rows = metric_rows(summary)
    names = list(rows[0]) if rows else []
    table = [
        "| " + " | ".join(names) + " |",
        "|" + " --- |" * len(names),
        *("| " + " | ".join(row.get(name, "") for name in names) + " |" for row in rows),
    ]
    word = "Promoted" if summary.promoted else "Not promoted"
    passed, total = summary.checks
    lines = [
        f"# {summary.pipeline}: {summary.model} v{summary.version}",
        "",
        f"**{word}.** {summary.verdict}",
        "",
        *map(rule_line, summary.rules),
        "",
        *table,
        "",
        f"- Data: {summary.rows:,} rows, {passed} of {total} checks passed",
        f"- Training: {training_in_words(trained)}, "
        f"{', '.join(trained.hardware.devices)}, seed {trained.seed}",
        *(f"- Slices: {sentence}" for sentence in summary.slices),
        f"- Proof: {summary.proof}",
        f"- Aliases: {', '.join(summary.aliases)}",
        *(f"- Export: {sentence}" for sentence in summary.exports),
        *(f"- Warning: {warning}" for warning in summary.warnings),
    ]
    return "\n".join(lines)
