"""The command line: `roundhouse run | compare | list | status | up | worker | deploy | doctor`."""

import logging
import os
import sys
from typing import Annotated, Literal, NoReturn

import typer

from infra import model_commands
from infra.shell import console, explained

app = typer.Typer(
    help="Keeps models fresh: checks the data, trains, judges, and registers what has earned it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(model_commands.app)
Target = Annotated[
    Literal["processes", "kubernetes"],
    typer.Option("--target", help="Where runs go: processes of a worker, or Jobs of a cluster."),
]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(f"roundhouse {metadata.version('roundhouse-ml')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Keeps models fresh: checks the data, trains, judges, and registers what has earned it."""


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="Name of the pipeline; see `roundhouse list`.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="STAGE.FIELD=VALUE", help="Change a field for this run."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Train again although nothing changed.")
    ] = False,
) -> None:
    """Run a pipeline: check, train, evaluate, register, and promote what has earned it."""
    with explained():
        from infra.pipelines import configure, get_pipeline, load_pipelines
        from infra.presence import joined
        from tasks.settings import load_settings

        settings = joined(load_settings())
        config = configure(get_pipeline(load_pipelines(settings.pipelines), name), changes or ())
        from infra.running import run_pipeline

        run_pipeline(config, settings, console(), force=force)


@app.command()
def compare(
    name: Annotated[str, typer.Argument(help="Name of a pipeline; see `roundhouse list`.")],
    others: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="PIPELINE", help="Default: all of the same dataset."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="STAGE.FIELD=VALUE", help="Change a field of each of them."),
    ] = None,
) -> None:
    """Train pipelines of one dataset on the same rows and rank them; nothing is registered."""
    with explained():
        from infra.comparing import choose_presets, compare_pipelines
        from infra.presence import joined
        from tasks.settings import load_settings

        settings = joined(load_settings())
        presets = choose_presets(settings, name, others or (), changes or ())
        compare_pipelines(presets, settings, console())


@app.command(name="list")
def list_pipelines() -> None:
    """List the pipelines: dataset, model and schedule."""
    with explained():
        from infra.pipelines import load_pipelines
        from infra.reports import show_pipelines
        from tasks.settings import load_settings

        show_pipelines(console(), load_pipelines(load_settings().pipelines))


@app.command()
def status() -> None:
    """Show, per pipeline, the champion, its metric and age, and how the last run ended."""
    with explained():
        from infra.pipelines import load_pipelines
        from infra.presence import joined
        from infra.reports import show_status
        from tasks.settings import load_settings

        settings = joined(load_settings())
        show_status(console(), load_pipelines(settings.pipelines), settings)


@app.command()
def up(
    host: Annotated[
        str | None, typer.Option("--host", help="Listen there, not on this machine alone.")
    ] = None,
) -> None:
    """Serve the stack until Ctrl-C: Prefect, MLflow, a worker, and every pipeline's schedule."""
    with explained():
        from infra.stack import serve
        from tasks.settings import load_settings

        settings = load_settings()
        serve(settings.model_copy(update={"host": host}) if host else settings, console())


@app.command()
def worker(
    pool: Annotated[str | None, typer.Option("--pool", help="Work pool to take runs from.")] = None,
) -> None:
    """Take the runs of a work pool until Ctrl-C, on this machine or another."""
    with explained():
        from infra.pool_worker import serve_pool
        from infra.presence import joined
        from tasks.settings import load_settings

        serve_pool(joined(load_settings()), console(), pool)


@app.command()
def deploy(
    names: Annotated[
        list[str] | None, typer.Argument(help="Pipelines to deploy. Default: all.")
    ] = None,
    pool: Annotated[
        str | None, typer.Option("--pool", help="Work pool instead of the blocks' own.")
    ] = None,
    target: Target = "processes",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Change the cluster's pool without asking.")
    ] = False,
) -> None:
    """Put pipelines, their schedules, limits and automations on the Prefect server; repeatable."""
    with explained():
        from infra.presence import joined
        from tasks.settings import load_settings

        settings = joined(load_settings())
        if target == "kubernetes":
            from infra.clusters.delivery import deploy_to_cluster

            deploy_to_cluster(
                settings, console(), names or (), pool, dry_run=dry_run, confirmed=yes
            )
            return
        from infra.deployment import deploy_pipelines

        deploy_pipelines(settings, console(), names=names or (), pool=pool, dry_run=dry_run)


@app.command()
def doctor(target: Target = "processes") -> None:
    """Look at the stack as its users and workers will; one line each: ok, or what mends it."""
    with explained():
        from infra.doctor import examine
        from infra.presence import joined
        from tasks.settings import load_settings

        settings, found = joined(load_settings()), []
        if target == "kubernetes":
            from infra.clusters.delivery import examine_for_doctor

            found = examine_for_doctor(settings)
        if not examine(settings, console(), found, in_cluster=target == "kubernetes"):
            raise typer.Exit(1)


def main() -> NoReturn:
    """The entry point of the command `roundhouse`.

    It ends the process itself, when all that it started has been stopped: taking TensorFlow and
    the interpreter apart lasts seconds and does nothing for anyone.
    """
    code: object = 0
    try:
        app(prog_name="roundhouse")
    except SystemExit as end:
        code = end.code
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)
