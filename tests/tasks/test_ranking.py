from urllib.parse import unquote

import pytest

from tasks.contenders import Contender, Entry, Ranking
from tasks.ranking import compare_page, ranked, ranking_rows


def entry(name, failure="", **metrics):
    contender = Contender(
        rows=10, metrics=metrics, parameters=1234, size=2_500_000, seconds=3.0,
        latency_median_ms=1.5, latency_p99_ms=4.25, latency_rows=100,
    )  # fmt: skip
    return Entry(
        preset=name, architecture="mlp", run_id=f"run-{name}",
        contender=None if failure else contender, failure=failure,
    )  # fmt: skip


@pytest.mark.parametrize(("metric", "order"), [("roc_auc", "bac"), ("mae", "cab")])
def test_the_best_is_first_whichever_way_the_metric_goes(metric, order):
    entries = [
        entry(name, **{metric: value}) for name, value in zip("abc", (0.5, 0.9, 0.1), strict=True)
    ]
    assert "".join(found.preset for found in ranked(entries, metric)) == order


def test_an_undefined_figure_comes_after_the_others_and_a_failure_last():
    entries = [
        entry("failed", failure="no such rows"),
        entry("undefined"),
        entry("nan", roc_auc=float("nan")),
        entry("worst", roc_auc=0.1),
    ]
    found = [entry.preset for entry in ranked(entries, "roc_auc")]
    assert found == ["worst", "undefined", "nan", "failed"]


def test_a_row_of_the_table_says_what_a_preset_costs():
    ranking = Ranking(
        dataset="digits", metric="roc_auc", run_id="run", page="page",
        entries=(entry("good", roc_auc=0.87654), entry("bad", failure="no such rows")),
    )  # fmt: skip
    good, bad = ranking_rows(ranking)
    assert good == {
        "#": "1", "preset": "good", "model": "mlp", "roc_auc": "0.8765", "parameters": "1,234",
        "MB": "2.50", "training s": "3.0", "row ms": "1.50", "row ms, p99": "4.25",
    }  # fmt: skip
    assert bad["roc_auc"] == "failed: no such rows"


def test_the_page_is_the_one_that_mlflow_shows_runs_side_by_side_on(context):
    page = compare_page(context, [entry("a"), entry("b")])
    assert unquote(page) == (
        f'{context.mlflow_pages}/#/compare-runs?runs=["run-a","run-b"]'
        f'&experiments=["{context.experiment_id}"]'
    )
