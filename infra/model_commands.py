"""The commands about a registered model: what is done with its versions once they are trained."""

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
