"""How a model does: its figures and how sure they are, by slice and by class, and the verdict."""

import math
from collections.abc import Mapping

from tasks.appraisal import FairnessGap, Lineage, Slices
from tasks.judgement import Evaluation
from tasks.metrics import HIGHER_IS_BETTER, MAIN
from tasks.model_card.document import (
    Cell,
    Interval,
    Notes,
    Pictures,
    Section,
    Table,
    facts,
    section,
)
from tasks.model_card.intervals import CONFIDENCE
from tasks.model_card.measured import ClassFigures, Measured
from tasks.rules import figure, gain_in_words

BLANK = "-"
# of more slices or classes, those that are worst
ROWS = 24
# metrics between 0 and 1, which one scale serves
SHARES = frozenset(name for name in MAIN if HIGHER_IS_BETTER.get(name)) - {"r2", "bleu"}
WHOLE = (0.0, 1.0)
AGAINST_CHAMPION = ("better", "not_worse")
GAPS = {
    "demographic_parity": "demographic parity",
    "equalised_odds": "equalised odds",
    "predictions": "the mean prediction",
    "errors": "the mean absolute error",
}


def main_metrics(evaluation: Evaluation) -> tuple[str, ...]:
    """The metrics that are shown of a model, in their order."""
    return tuple(name for name in MAIN if name in evaluation.metrics)


def performance(lineage: Lineage, measured: Measured) -> Section | None:
    """The main figures with their intervals, beside those of the baselines and the champion."""
    evaluation = lineage.evaluation
    theirs = dict(evaluation.baselines)
    before = lineage.promotion.champion_before
    if lineage.promotion.champion_metrics and before != lineage.promotion.version:
        theirs[f"champion v{before}"] = lineage.promotion.champion_metrics
    note = f"On {evaluation.rows:,} test rows, which neither trained it nor decided when to stop."
    if measured.intervals:
        note += (
            f" Intervals of {100 * CONFIDENCE:g} %, by the bootstrap; Wilson's for an accuracy of "
            "rows that do not belong together."
        )
    table = metrics_table(evaluation.metrics, theirs, measured.intervals)
    pictures = {n: f for n, f in evaluation.pictures.items() if not n.startswith("learning")}
    return section("figures", "How it does", Notes((note,)), table, Pictures(pictures))


def metrics_table(
    metrics: Mapping[str, float],
    others: Mapping[str, Mapping[str, float]],
    intervals: Mapping[str, tuple[float, float]],
) -> Table:
    """The main metrics of a model, with intervals where there are any, beside those of others."""
    head = ("Metric", "This model", *(("Interval",) if intervals else ()))
    best = {name: _best(name, others) for name in MAIN if name in metrics}
    scale = (scale_start(intervals, best), 1.0)
    rows = []
    for name, reference in best.items():
        cells: list[Cell] = [in_words(name), figure(metrics[name])]
        if intervals:
            ends = intervals.get(name)
            drawn = scale if name in SHARES else None
            cells.append(Interval(metrics[name], *ends, drawn, reference) if ends else BLANK)
        cells += [_figure(found.get(name)) for found in others.values()]
        rows.append(tuple(cells))
    caption = f"Drawn from {scale[0]:g} to 1; the upright line is the best of the others."
    return Table(
        (*head, *(in_words(name) for name in others)),
        tuple(rows),
        strong=1,
        caption=caption if set(intervals) & SHARES else "",
    )


def scale_start(
    intervals: Mapping[str, tuple[float, float]], best: Mapping[str, float | None]
) -> float:
    """Where the scale of shares begins: a tenth below all that is drawn on it."""
    drawn = [ends[0] for name, ends in intervals.items() if name in SHARES]
    drawn += [value for name in intervals if name in SHARES and (value := best.get(name))]
    return max(0.0, math.floor(10 * min(drawn, default=0.0)) / 10)


def _best(metric: str, others: Mapping[str, Mapping[str, float]]) -> float | None:
    known = [found[metric] for found in others.values() if metric in found]
    return (max if HIGHER_IS_BETTER.get(metric, True) else min)(known, default=None)


def sliced(slices: Slices, evaluation: Evaluation) -> Section | None:
    """The gate's metric in each slice, and how differently groups are treated."""
    ends, whole = _scale(slices), evaluation.metrics.get(slices.metric)
    rows: list[tuple[Cell, ...]] = []
    for found in slices.table[:ROWS]:
        value = found.metrics.get(slices.metric)
        interval: Cell = BLANK
        if value is not None and found.low is not None and found.high is not None:
            interval = Interval(value, found.low, found.high, ends, whole)
        rows.append((found.column, found.value, f"{found.rows:,}", _figure(value), interval))
    metric = in_words(slices.metric)
    table = Table(
        ("Column", "Slice", "Test rows", metric, "Interval"),
        tuple(rows),
        texts=2,
        strong=3,
        caption=f"Drawn from {figure(ends[0])} to {figure(ends[1])}; the upright line is the "
        "figure of all test rows."
        if ends
        else "",
    )
    notes = [f"{gap.column}: {gap.reason}" for gap in slices.gaps if gap.reason]
    if len(slices.table) > ROWS:
        notes.append(f"{len(slices.table) - ROWS:,} more slices are in the run.")
    return section(
        "slices",
        "Slices and fairness",
        table,
        _gaps(slices.gaps),
        Notes(tuple(notes)),
        Pictures(slices.pictures),
    )


def _gaps(gaps: tuple[FairnessGap, ...]) -> Table:
    """How differently the groups of each sensitive column are treated; 0 where they are alike."""
    rows: list[tuple[Cell, ...]] = []
    for gap in gaps:
        for field, words in GAPS.items():
            value, ends = getattr(gap, field), gap.intervals.get(field)
            if value is not None:
                reach: Cell = Interval(value, *ends) if ends else BLANK
                rows.append((gap.column, words, figure(value), reach))
    head = ("Sensitive column", "Largest gap between groups, of", "Gap", "Interval")
    return Table(head, tuple(rows), texts=2, strong=2)


def _scale(slices: Slices) -> tuple[float, float] | None:
    lows = [found.low for found in slices.table if found.low is not None]
    highs = [found.high for found in slices.table if found.high is not None]
    return (min(lows), max(highs)) if lows and highs and max(highs) > min(lows) else None


def by_class(classes: tuple[ClassFigures, ...]) -> Section | None:
    """Rows and recall of each class; of many, those that are found least."""
    worst = sorted(classes, key=lambda found: -1.0 if found.recall is None else found.recall)
    chosen = set(worst[:ROWS])
    rows: list[tuple[Cell, ...]] = []
    for found in classes:
        if found not in chosen:
            continue
        ends: Cell = BLANK
        if found.recall is not None:
            ends = Interval(found.recall, found.low, found.high, WHOLE)
        rows.append(
            (found.name, f"{found.train:,}", f"{found.test:,}", _figure(found.recall), ends)
        )
    left = len(classes) - len(rows)
    note = Notes((f"{left:,} more classes are found more often.",) if left > 0 else ())
    table = Table(
        ("Class", "Training rows", "Test rows", "Recall", "Interval"), tuple(rows), strong=3
    )
    return section("classes", "Class by class", table, note)


def verdict(lineage: Lineage) -> Section | None:
    """Rule by rule; and the comparison with the champion before."""
    promotion = lineage.promotion
    rules = promotion.verdict.rules
    notes = Notes(
        tuple(rule.reason[:1].upper() + rule.reason[1:] for rule in rules),
        tuple("passed" if rule.passed else "failed" for rule in rules),
    )
    gain = next((rule.difference for rule in rules if rule.name in AGAINST_CHAMPION), None)
    compared = facts(
        champion_before=f"v{promotion.champion_before}",
        gain=gain_in_words(gain),
        on_the_same_rows=f"{gain.rows:,}",
    ) if gain else None  # fmt: skip
    return section("verdict", "The verdict, rule by rule", notes, compared)


def in_words(name: str) -> str:
    """A metric or a baseline as people write it."""
    known = {"roc_auc": "ROC AUC", "f1": "F1", "f1_macro": "F1, macro", "r2": "R²",
             "mae": "mean absolute error", "rmse": "RMSE", "bleu": "BLEU", "rouge_l": "ROUGE-L",
             "pr_auc": "PR AUC"}  # fmt: skip
    return known.get(name, name.replace("_", " "))


def _figure(value: float | None) -> str:
    return BLANK if value is None else figure(value)
