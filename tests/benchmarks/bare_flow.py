"""The other side of `make bench`: a Prefect deployment of a flow that does nothing."""

from prefect import flow


@flow
def nothing() -> None:
    """Does nothing."""
