"""From the lineage of a run to its card: which sections, in which order, and what stands first."""

import datetime

from tasks.appraisal import Lineage
from tasks.handoffs import RunContext
from tasks.model_card import data, figures, limits, making
from tasks.model_card.document import Card
from tasks.model_card.measured import Measured
from tasks.rules import figure, sentence_of

# its name among the artefacts of the run
CARD = "model-card.html"


def card_of(context: RunContext, lineage: Lineage, measured: Measured) -> Card:
    """The card of a version; a section of which nothing is known is left out.

    Args:
        context: The run, for its pages.
        lineage: All of the run's hand-offs.
        measured: What no stage has measured.
    """
    sections = (
        data.purpose(lineage),
        figures.verdict(lineage),
        figures.performance(lineage, measured),
        figures.sliced(lineage.slices, lineage.evaluation),
        figures.by_class(measured.classes),
        limits.limits(lineage, measured),
        making.explanation(lineage.explanation),
        data.data(lineage, measured),
        data.checks(lineage.checks, context),
        data.preparation(lineage),
        making.training(lineage),
        making.exports(lineage.exports),
        making.proof(lineage.proof, lineage.package),
        making.origin(lineage, context),
    )
    verdict = lineage.promotion.verdict
    return Card(
        name=lineage.registered.name,
        version=lineage.registered.version,
        subtitle=data.subtitle(lineage.prepared),
        promoted=verdict.promoted,
        verdict=sentence_of(verdict),
        figures=_first(lineage, measured),
        sections=tuple(found for found in sections if found),
        page=context.file_page(CARD),
        made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _first(lineage: Lineage, measured: Measured) -> tuple[tuple[str, str, str], ...]:
    """The gate's metric with its interval, rows, time and size: a name, a figure, words on it."""
    gate = lineage.configuration.get("gate")
    metric = str(gate.get("metric")) if isinstance(gate, dict) else ""
    told: list[tuple[str, str, str]] = []
    if (value := lineage.evaluation.metrics.get(metric)) is not None:
        ends = measured.intervals.get(metric)
        about = f"{figure(ends[0])} to {figure(ends[1])}" if ends else "on the test rows"
        told.append((figures.in_words(metric), figure(value), about))
    prepared, trained, proof = lineage.prepared, lineage.trained, lineage.proof
    told += [
        ("rows", f"{prepared.snapshot.rows:,}", f"{prepared.test.count:,} of them test"),
        ("training", making.duration(trained.seconds), ", ".join(trained.hardware.devices)),
        (
            "package",
            f"{lineage.package.size / 1e6:,.1f} MB",
            f"loads in {making.duration(proof.load_seconds)}",
        ),
    ]
    return tuple(told)
