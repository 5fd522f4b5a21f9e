"""The flows by which people decide which version serves: a promotion by hand, and the way back."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from tasks import announcements, decisions
from tasks.history import Move, Mover
from tasks.lineage import prefect_address, this_user
from tasks.progress import name_flow_run
from tasks.settings import Settings, load_settings

# a value that does not match is refused by the form, before there is a run
Reason = Annotated[str, Field(pattern=r"\S")]
Version = Annotated[str, Field(pattern=r"^(v?[0-9]+|@?[a-zA-Z][\w-]*)$")]


@flow(name="promote", persist_result=False, validate_parameters=True)
def promote(pipeline: str, version: Version, because: Reason, force: bool = False) -> Move:
    """Makes a version the champion because a person says so; the gate is not asked.

    Args:
        pipeline: The pipeline whose model it is.
        version: Number of the version, or an alias that it has, such as challenger.
        because: Why. It is kept with the move, and shown on the model's page.
        force: Also if no fresh process has proved that the version loads and predicts as in
            training; that it was forced is kept as well.
    """
    settings = load_settings()
    move = decisions.promote_version(
        settings.mlflow_uri, pipeline, version, because, _mover(), force=force
    )
    return _told(settings, pipeline, move)


@flow(name="rollback", persist_result=False, validate_parameters=True)
def roll_back(pipeline: str, because: Reason, version: Version | None = None) -> Move:
    """Puts a champion from before into service again; the one that served is not promoted again.

    Args:
        pipeline: The pipeline whose model it is.
        because: Why. It is kept with the move, and shown on the model's page.
        version: Number of a version that was the champion before, or an alias. Default: the one
            with the alias previous.
    """
    settings = load_settings()
    move = decisions.roll_back(settings.mlflow_uri, pipeline, because, _mover(), wanted=version)
    return _told(settings, pipeline, move)


def _mover() -> Mover:
    return Mover(by=this_user(), page=prefect_address())


def _told(settings: Settings, pipeline: str, move: Move) -> Move:
    """A move, once its run and whoever listens say what it was."""
    name_flow_run(f"{pipeline}: {move.moved}")
    announcements.announce_move(pipeline, move, f"{settings.mlflow_pages}/#/models/{pipeline}")
    return move
