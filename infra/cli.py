"""The command line: `roundhouse run | compare | list | status | up | worker | deploy | doctor`."""

import logging
import os
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    help="Keeps models fresh: checks the data, trains, judges, and registers what has earned it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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
    with _explained():
        from infra.pipelines import configure, get_pipeline, load_pipelines
        from infra.presence import joined
        from tasks.settings import load_settings

        settings = joined(load_settings())
        config = configure(get_pipeline(load_pipelines(settings.pipelines), name), changes or ())
        from infra.running import run_pipeline

        run_pipeline(config, settings, _console(), force=force)


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
    with _explained():
        from infra.comparing import choose_presets, compare_pipelines
        from infra.presence import joined
        from tasks.settings import load_settings

        settings = joined(load_settings())
        presets = choose_presets(settings, name, others or (), changes or ())
        compare_pipelines(presets, settings, _console())


@app.command(name="list")
def list_pipelines() -> None:
    """List the pipelines: dataset, model and schedule."""
    with _explained():
        from infra.pipelines import load_pipelines
        from infra.reports import show_pipelines
        from tasks.settings import load_settings

        show_pipelines(_console(), load_pipelines(load_settings().pipelines))


@app.command()
def status() -> None:
    """Show, per pipeline, the champion, its metric and age, and how the last run ended."""
    with _explained():
        from infra.pipelines import load_pipelines
        from infra.presence import joined
        from infra.reports import show_status
        from tasks.settings import load_settings

        settings = joined(load_settings())
        show_status(_console(), load_pipelines(settings.pipelines), settings)


@app.command()
def up(
    host: Annotated[
        str | None, typer.Option("--host", help="Listen there, not on this machine alone.")
    ] = None,
) -> None:
    """Serve the stack until Ctrl-C: Prefect, MLflow, a worker, and every pipeline's schedule."""
    with _explained():
        from infra.stack import serve
        from tasks.settings import load_settings

        settings = load_settings()
        serve(settings.model_copy(update={"host": host}) if host else settings, _console())


@app.command()
def worker(
    pool: Annotated[str | None, typer.Option("--pool", help="Work pool to take runs from.")] = None,
) -> None:
    """Take the runs of a work pool until Ctrl-C, on this machine or another."""
    with _explained():
        from infra.pool_worker import serve_pool
        from infra.presence import joined
        from tasks.settings import load_settings

        serve_pool(joined(load_settings()), _console(), pool)


@app.command()
def deploy(
    names: Annotated[
        list[str] | None, typer.Argument(help="Pipelines to deploy. Default: all.")
    ] = None,
    pool: Annotated[
        str | None, typer.Option("--pool", help="Work pool instead of the blocks' own.")
    ] = None,
) -> None:
    """Put pipelines, their schedules, limits and automations on the Prefect server; repeatable."""
    with _explained():
        from infra.deployment import deploy_pipelines
        from infra.presence import joined
        from tasks.settings import load_settings

        deploy_pipelines(joined(load_settings()), _console(), names=names or (), pool=pool)


@app.command()
def doctor() -> None:
    """Look at the stack as its users and workers will; one line each: ok, or what mends it."""
    with _explained():
        from infra.doctor import examine
        from infra.presence import joined
        from tasks.settings import load_settings

        if not examine(joined(load_settings()), _console()):
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


class _explained:  # reads as a word in a with statement
    """Turns an error into one sentence on standard error, and an exit code other than 0."""

    def __enter__(self) -> None:
        from infra import environment

        environment.apply(environment.QUIET)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from tasks.errors import RoundhouseError

        log, cause = "", error
        if type(error).__name__ == "RunEnded":
            log, cause = str(error), getattr(error, "__cause__", None)
        if isinstance(cause, KeyboardInterrupt):
            _fail(
                "Interrupted. Run the same command again to go on after the last finished stage.",
                log,
                code=130,
            )
        if isinstance(cause, RoundhouseError):
            _fail(str(cause), log, code=1)
        if isinstance(cause, Exception) and not isinstance(cause, typer.Exit):
            _fail(
                f"Unexpected {type(cause).__name__}: {cause}", log or _traceback_file(cause), code=1
            )


def _traceback_file(error: Exception) -> str:
    """Where the traceback of an error was written that came before there was a log."""
    import tempfile
    import traceback

    handle, path = tempfile.mkstemp(prefix="roundhouse-", suffix=".log")
    with os.fdopen(handle, "w") as file:
        file.writelines(traceback.format_exception(error))
    return path


def _fail(sentence: str, log: str, *, code: int) -> NoReturn:
    typer.secho(f"✗ {sentence}", fg="red", err=True)
    if log:
        typer.echo(f"  The full log, with the traceback: {log}", err=True)
    # Prefect's and MLflow's background threads have nothing left to say once a run has failed
    sys.stdout.flush()
    raise typer.Exit(code)


def _console() -> "Console":
    from rich.console import Console

    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "100"))
    return Console(width=width, highlight=False)
