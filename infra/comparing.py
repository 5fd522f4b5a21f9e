"""`roundhouse compare`: presets of one dataset trained on the same rows, ranked in the terminal."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from infra import databases, environment
from infra.interrupts import orderly_interrupts
from infra.pipelines import configure, get_pipeline, load_pipelines
from infra.running import alone, called, log_file, prefect_api
from tasks.config import PipelineConfig
from tasks.home import prepare_home
from tasks.presets import on_the_same_rows
from tasks.ranking import ranking_rows
from tasks.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from tasks.contenders import Ranking


def choose_presets(
    settings: Settings, name: str, others: Sequence[str], changes: Sequence[str]
) -> tuple[PipelineConfig, ...]:
    """The configurations to compare, the named pipeline's first.

    Args:
        settings: Say where the pipelines are.
        name: Name of a pipeline.
        others: Those that it is compared with; none for all of the same dataset.
        changes: Each `stage.field=value`, made in every one of them.

    Raises:
        ConfigError: There is no such pipeline, or a change cannot be made.
    """
    pipelines = load_pipelines(settings.pipelines)
    first = configure(get_pipeline(pipelines, name), changes)
    dataset = first.ingestion.dataset
    same = others or [
        other
        for other, pipeline in pipelines.items()
        if other != name and configure(pipeline, ()).ingestion.dataset == dataset
    ]
    chosen = dict.fromkeys(other for other in same if other != name)
    return (first, *(configure(get_pipeline(pipelines, other), changes) for other in chosen))


def compare_pipelines(
    presets: tuple[PipelineConfig, ...], settings: Settings, console: "Console"
) -> None:
    """Compares presets in this process and shows how they rank.

    Args:
        presets: From `choose_presets`.
        settings: Places and addresses.
        console: Where it is shown.

    Raises:
        RoundhouseError: It could not start, for a reason that we can explain.
        RunEnded: It started and failed.
    """
    on_the_same_rows(presets)
    started, name = time.perf_counter(), presets[0].pipeline
    prepare_home(settings)
    environment.apply(environment.credentials(settings))
    title = f"compare-{name}"
    with orderly_interrupts(), alone(title, settings, console) as found:
        databases.prepare_databases(found)
        with prefect_api(found) as server, log_file(found, title) as log:
            from flows.comparing import compare
            from infra.display import StageDisplay

            console.print(f"[bold]{' | '.join(preset.pipeline for preset in presets)}[/]")
            with StageDisplay(console):
                ranking = called(lambda: compare(name, presets=presets), name, server)
            show_ranking(console, ranking, served=server is None)
            console.print(f"Took {time.perf_counter() - started:.1f} s; full log in {log}")


def show_ranking(console: "Console", ranking: "Ranking", *, served: bool = False) -> None:
    """Shows how presets rank.

    Args:
        console: Where to show it.
        ranking: What the flow came to.
        served: Whether MLflow's pages are there now.
    """
    from rich.table import Table
    from rich.text import Text

    rows, found = ranking_rows(ranking), ranking.entries[0].contender
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in dict.fromkeys(title for row in rows for title in row):
        table.add_column(title, justify="left" if title in {"preset", "model"} else "right")
    for entry, row in zip(ranking.entries, rows, strict=True):
        if not entry.failure:
            table.add_row(*map(Text, row.values()))
    console.print()
    console.print(table)
    for entry in ranking.entries:
        if entry.failure:
            console.print(Text(f"✗ {entry.preset}: {entry.failure}", "yellow"), soft_wrap=True)
    if found is not None:
        console.print(
            f"By {ranking.metric} on {found.rows:,} validation rows; the test rows are not looked "
            "at. Milliseconds of a single raw row through the packaged code.",
            soft_wrap=True,
        )
    page = ranking.page if served else "roundhouse up: the runs side by side, in a browser"
    console.print(Text(page), soft_wrap=True)
