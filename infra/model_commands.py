"""The commands about a registered model: what is done with its versions once they are trained."""

import typer

app = typer.Typer()
