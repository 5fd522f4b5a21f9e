"""The probing flow: what a run finds where it executes, told to `roundhouse doctor`."""

import json

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.flows import load_flow_from_entrypoint

from tasks.probe import ProbeReport, look_around
from tasks.settings import load_settings

KEY = "probe"


@flow(name="probe", persist_result=False, validate_parameters=True)
def probe(
    entrypoints: tuple[str, ...] = ("flows.training.train",), experiments: tuple[str, ...] = ()
) -> ProbeReport:
    """Looks at the place where runs execute: storage, versions, code, disk, clocks, GPUs.

    Args:
        entrypoints: Flows that must be importable there.
        experiments: MLflow experiments whose artefacts runs would write there.
    """
    code = {entrypoint: _import_problem(entrypoint) for entrypoint in entrypoints}
    report = look_around(load_settings(), experiments, code)
    found = report.model_dump(mode="json")
    rows = [{"what": name, "found": json.dumps(value)} for name, value in found.items()]
    # a run's result stays where it ran; an artefact is there for whoever asks, people as well
    create_table_artifact(rows, key=KEY, description="What a run finds where it executes")
    return report


def _import_problem(entrypoint: str) -> str:
    """Why a flow cannot be imported; empty where it can."""
    try:
        load_flow_from_entrypoint(entrypoint)
    except Exception as error:  # of whatever the code does when it is imported
        return f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return ""
