"""What the hand-offs of `tasks.appraisal` show of a run, and the value by which any does."""

import re
from dataclasses import dataclass, field

from tasks.appraisal import Explanation, ModelCard, Slices
from tasks.exports import Exports
from tasks.handoffs import Handoff, StoredFile
from tasks.slice_tables import measured_gaps

# a table can have thousands of columns, a page of metrics cannot
IMPORTANCES = 50
# of a run's page; the tables have all
SLICES_LOGGED = 100


@dataclass(frozen=True)
class Evidence:
    """What is kept with a run.

    Args:
        metrics: Name, value and step of each figure.
        tags: Short texts by name.
        files: Per path among the artefacts, a stored file.
    """

    metrics: tuple[tuple[str, float, int], ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    files: dict[str, StoredFile] = field(default_factory=dict)


def appraisal_evidence(handoff: Handoff) -> Evidence:
    """The evidence in a hand-off; none in one that is not of these."""
    match handoff:
        case Slices():
            return _of_slices(handoff)
        case Explanation():
            return _of_explanation(handoff)
        case ModelCard():
            return Evidence(
                files={"model-card.html": handoff.html, "model-card.md": handoff.markdown}
            )
        case Exports():
            return _of_exports(handoff)
        case _:
            return Evidence()


def appraisal_outcome(handoff: Handoff) -> str:
    """A hand-off in a few words; none for one that is not of these."""
    match handoff:
        case Slices(columns=columns, table=table):
            return f"{len(table)} slices by {', '.join(columns)}" if columns else "none asked for"
        case Explanation(report=None):
            return "nothing explained"
        case Explanation(importances=(), rows=rows):
            return f"{len(rows)} rows explained"
        case Explanation(importances=importances, rows=rows):
            most = ", ".join(importance.column for importance in importances[:3])
            return f"most by {most}; {len(rows)} rows explained"
        case Exports(made=made):
            kept = sum(form.kept for form in made)
            return f"{kept} of {len(made)} forms kept" if made else "none asked for"
        case _:
            return ""


def in_metric_name(value: str) -> str:
    """A value as a part of the name of a metric, for which MLflow takes few characters."""
    return re.sub(r"[^\w .:-]|^[ .]+|[ .]+$", "_", value, flags=re.ASCII) or "_"


def _of_explanation(handoff: Explanation) -> Evidence:
    """Importances as metrics, those of the first columns; all of them are in the report."""
    report = {"explanation/report.json": handoff.report} if handoff.report else {}
    pictures = {f"explanation/{name}": file for name, file in handoff.pictures.items()}
    return Evidence(
        metrics=tuple(
            (f"importance/{in_metric_name(one.column)}", one.mean, 0)
            for one in handoff.importances[:IMPORTANCES]
        ),
        files={**report, **pictures},
    )


def _of_slices(handoff: Slices) -> Evidence:
    """The gate's metric in each slice, the largest of each column first where there are many."""
    metric = handoff.metric
    measured = [part for part in handoff.table if metric in part.metrics]
    found = {
        f"slice/{in_metric_name(part.column)}/{in_metric_name(part.value)}": part.metrics[metric]
        for part in measured[:SLICES_LOGGED]
    }
    gaps = {
        f"fairness/{in_metric_name(gap.column)}/{name}": value
        for gap in handoff.gaps
        for name, value in measured_gaps(gap).items()
    }
    files = {"slices.json": handoff.report, "slices.csv": handoff.spreadsheet}
    return Evidence(
        metrics=tuple((name, value, 0) for name, value in {**found, **gaps}.items()),
        files={
            **{name: file for name, file in files.items() if file is not None},
            **{f"pictures/{name}": file for name, file in handoff.pictures.items()},
        },
    )


def _of_exports(handoff: Exports) -> Evidence:
    """Size, speed and the metric of each form, and the files of those that were kept."""
    figures = (
        (f"export/{form.folder}/{name}", value, 0)
        for form in handoff.forms
        for name, value in (
            ("size_bytes", form.size or None),
            ("zipped_bytes", form.zipped or None),
            ("latency_median_ms", form.latency_median_ms),
            ("latency_p99_ms", form.latency_p99_ms),
            (handoff.metric, form.metrics.get(handoff.metric)),
        )
        if value is not None
    )
    files = {
        f"exports/{form.folder}/{name}": file
        for form in handoff.forms
        for name, file in form.files.items()
    }
    report = {"exports.json": handoff.report} if handoff.report else {}
    return Evidence(metrics=tuple(figures), files={**report, **files})
