"""The commands about a registered model: what is done with its versions once they are trained."""

from pathlib import Path
from typing import Annotated

import typer

from infra.shell import console, explained

app = typer.Typer()
Name = Annotated[str, typer.Argument(help="Name of the registered model, which is its pipeline's.")]


@app.command()
def reproduce(
    model: Annotated[str, typer.Argument(help="A version: NAME, NAME@ALIAS or NAME/VERSION.")],
) -> None:
    """Train a registered version again and say whether it comes out bit for bit."""
    with explained():
        from infra.presence import joined
        from infra.reproducing import reproduce_version
        from tasks.settings import load_settings

        if not reproduce_version(model, joined(load_settings()), console()):
            raise typer.Exit(1)


@app.command()
def explain(
    model: Annotated[str, typer.Argument(help="A version: NAME, NAME@ALIAS or NAME/VERSION.")],
    row: Annotated[
        list[str],
        typer.Option(
            "--row",
            metavar="N|FILE|COLUMN=VALUE",
            help="A row of its snapshot, from 0; a JSON file, a picture or a text of yours; or a "
            "value of each column.",
        ),
    ],
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            help="Where the picture is written. Default: in the home, but for a row of yours with "
            "personal columns, which has none then.",
        ),
    ] = None,
) -> None:
    """Show what decided one prediction of a registered version, and draw it."""
    with explained():
        from infra.explaining import explain_version
        from infra.presence import joined
        from tasks.settings import load_settings

        explain_version(model, row, joined(load_settings()), console(), picture)


@app.command()
def promote(
    name: Name,
    version: Annotated[str, typer.Argument(help="Its number, or an alias such as challenger.")],
    because: Annotated[str, typer.Option("--because", help="Why; kept with the move.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also a version that nothing proved; recorded as such.")
    ] = False,
) -> None:
    """Make a version the champion because you say so; the gate is not asked."""
    with explained():
        from infra import deciding
        from infra.presence import joined
        from tasks.settings import load_settings

        settings = joined(load_settings())
        deciding.promote(settings, console(), name, version, because, force=force)


@app.command()
def rollback(
    name: Name,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="VERSION", help="A champion before. Default: previous."),
    ] = None,
    because: Annotated[str, typer.Option("--because", help="Why; kept with the move.")] = "",
) -> None:
    """Put the champion before into service again; again, and it goes one further back."""
    with explained():
        from infra import deciding
        from infra.presence import joined
        from tasks.settings import load_settings

        deciding.roll_back(joined(load_settings()), console(), name, to, because)


@app.command()
def history(
    name: Name,
    last: Annotated[int, typer.Option("--last", min=1, help="So many moves.")] = 20,
) -> None:
    """Show who moved a model's aliases, when, from which version to which, and why."""
    with explained():
        from infra import deciding
        from infra.presence import joined
        from tasks.settings import load_settings

        deciding.show_history(joined(load_settings()), console(), name, last)
