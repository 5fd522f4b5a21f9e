"""The tables of slices and gaps: for files, for pages, and the most telling in a sentence."""

import csv
import io
import json

from tasks.appraisal import FairnessGap, Slice, Slices
from tasks.judgement import Evaluation
from tasks.metrics import HIGHER_IS_BETTER

# the figures of a gap, in the words of a sentence
GAP_WORDS = {
    "demographic_parity": "demographic parity",
    "equalised_odds": "equalised odds",
    "predictions": "mean predictions",
    "errors": "mean absolute errors",
}
SHOWN = {"metric", "confidence", "least_rows", "table", "gaps"}


def as_json(slices: Slices, evaluation: Evaluation) -> str:
    """The slices and gaps, and the figures on all test rows beside them."""
    whole = {"all": {"rows": evaluation.rows, "metrics": evaluation.metrics}}
    return json.dumps({**slices.model_dump(mode="json", include=SHOWN), **whole}, indent=2)


def as_csv(slices: Slices) -> str:
    """One line per slice; metrics that are undefined in one are blank."""
    names = list(dict.fromkeys(name for part in slices.table for name in part.metrics))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    ends = (f"{slices.metric}_low", f"{slices.metric}_high")
    writer.writerow(["column", "value", "rows", *names, *ends])
    for part in slices.table:
        figures = [part.metrics.get(name, "") for name in names]
        interval = ["" if end is None else end for end in (part.low, part.high)]
        writer.writerow([part.column, part.value, part.rows, *figures, *interval])
    return stream.getvalue()


def slice_rows(slices: Slices) -> list[dict[str, str]]:
    """The slices as the rows of a table: the gate's metric with its interval."""
    return [
        {
            "column": part.column,
            "value": part.value,
            "rows": f"{part.rows:,}",
            slices.metric: _figure(part.metrics.get(slices.metric)),
            "interval": _interval(part.low, part.high),
        }
        for part in slices.table
    ]


def gap_rows(slices: Slices) -> list[dict[str, str]]:
    """The gaps as the rows of a table, one per sensitive column and figure."""
    return [
        {
            "column": gap.column,
            "gap of": GAP_WORDS[name],
            "value": _figure(value),
            "interval": _interval(*gap.intervals.get(name, (None, None))),
            "class": gap.labels.get(name, ""),
            "groups": ", ".join(gap.groups),
        }
        for gap in slices.gaps
        for name, value in measured_gaps(gap).items()
    ]


def measured_gaps(gap: FairnessGap) -> dict[str, float]:
    """The figures of a gap that were measured, by their names."""
    found = {name: getattr(gap, name) for name in GAP_WORDS}
    return {name: value for name, value in found.items() if value is not None}


def worst_slice(slices: Slices) -> Slice | None:
    """The slice with enough rows in which the gate's metric is worst; None where there is none."""
    metric, least = slices.metric, slices.least_rows
    judged = [part for part in slices.table if part.rows >= least and metric in part.metrics]
    sign = 1 if HIGHER_IS_BETTER.get(metric, True) else -1
    return min(judged, key=lambda part: sign * part.metrics[metric], default=None)


def slices_in_words(slices: Slices) -> tuple[str, ...]:
    """What is most telling, a sentence each: the worst slice, and each sensitive column's gaps."""
    worst, sentences = worst_slice(slices), []
    if worst:
        value = _figure(worst.metrics[slices.metric])
        sentences.append(
            f"{slices.metric} is worst where {worst.column} is '{worst.value}': {value} "
            f"({_interval(worst.low, worst.high) or 'too few rows for an interval'}) of "
            f"{worst.rows:,} rows; {len(slices.table)} slices in all"
        )
    for gap in slices.gaps:
        figures = [
            f"{GAP_WORDS[name]} {value:.3f} ({_interval(*gap.intervals[name])})"
            for name, value in measured_gaps(gap).items()
        ]
        told = f"gaps between groups of {gap.column}: {', '.join(figures) or 'not measured'}"
        sentences.append(f"{told} ({gap.reason})" if gap.reason else told)
    return tuple(sentences)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
