"""Presets in the order of a metric, and as a table."""

import json
from collections.abc import Sequence
from urllib.parse import quote

import numpy as np

from tasks.contenders import Entry, Ranking
from tasks.handoffs import RunContext
from tasks.metrics import is_better


def ranked(entries: Sequence[Entry], metric: str) -> tuple[Entry, ...]:
    """The entries, the best by a metric first; those without a value last, as they came."""

    def key(entry: Entry) -> tuple[bool, float]:
        value = entry.contender.metrics.get(metric) if entry.contender else None
        if value is None or np.isnan(value):
            return entry.contender is None, np.inf
        return False, -value if is_better(metric, 1, 0) else value

    return tuple(sorted(entries, key=key))


def ranking_rows(ranking: Ranking) -> list[dict[str, str]]:
    """A ranking as the rows of a table."""
    rows = []
    for place, entry in enumerate(ranking.entries, start=1):
        head = {"#": str(place), "preset": entry.preset, "model": entry.architecture}
        if (found := entry.contender) is None:
            rows.append({**head, "#": "", ranking.metric: f"failed: {entry.failure}"})
            continue
        value = found.metrics.get(ranking.metric)
        rows.append(
            {
                **head,
                ranking.metric: "undefined" if value is None else f"{value:.4f}",
                "parameters": f"{found.parameters:,}",
                "MB": f"{found.size / 1e6:.2f}",
                "training s": f"{found.seconds:.1f}",
                "row ms": f"{found.latency_median_ms:.2f}",
                "row ms, p99": f"{found.latency_p99_ms:.2f}",
            }
        )
    return rows


def compare_page(context: RunContext, entries: Sequence[Entry]) -> str:
    """MLflow's page with the runs side by side."""
    runs = quote(json.dumps([entry.run_id for entry in entries], separators=(",", ":")))
    experiments = quote(json.dumps([context.experiment_id], separators=(",", ":")))
    return f"{context.mlflow_pages}/#/compare-runs?runs={runs}&experiments={experiments}"
