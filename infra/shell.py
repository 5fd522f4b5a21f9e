"""What all commands share: errors as one sentence, and the console."""

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console


class explained:  # reads as a word in a with statement
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
            fail(
                "Interrupted. Run the same command again to go on after the last finished stage.",
                log,
                code=130,
            )
        if isinstance(cause, RoundhouseError):
            fail(str(cause), log, code=1)
        if isinstance(cause, Exception) and not isinstance(cause, typer.Exit):
            fail(
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


def fail(sentence: str, log: str, *, code: int) -> NoReturn:
    """Ends the command with a sentence, and where the whole log is."""
    typer.secho(f"✗ {sentence}", fg="red", err=True)
    if log:
        typer.echo(f"  The full log, with the traceback: {log}", err=True)
    # Prefect's and MLflow's background threads have nothing left to say once a run has failed
    sys.stdout.flush()
    raise typer.Exit(code)


def console() -> "Console":
    """Where a command shows what it has to say."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "100"))
    return Console(width=width, highlight=False)
