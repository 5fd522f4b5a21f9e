"""The commands about a registered model: what is done with its versions once they are trained."""

from pathlib import Path
from typing import Annotated

import typer

from infra.shell import console, explained

app = typer.Typer()


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
        Path | None, typer.Option("--picture", help="Where the picture is written.")
    ] = None,
) -> None:
    """Show what decided one prediction of a registered version, and draw it."""
    with explained():
        from infra.explaining import explain_version
        from infra.presence import joined
        from tasks.settings import load_settings

        explain_version(model, row, joined(load_settings()), console(), picture)
