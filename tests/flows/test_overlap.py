"""Two runs of one pipeline on one Prefect server, by the real command."""

import time
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Running

from flows.training import train
from tasks.config import IngestionConfig

SECONDS = 120


@pytest.fixture
def slot(client: Any) -> Any:
    """The turn of the pipeline `digits`, held by somebody else; call it to give it back."""
    client.upsert_global_concurrency_limit_by_name("pipeline-digits", 1)
    granted = client.increment_concurrency_slots_with_lease(
        ["pipeline-digits"], 1, "concurrency", 300
    )
    release = lambda: client.release_concurrency_slots_with_lease(granted.json()["lease_id"])  # noqa: E731
    yield release
    release()


def test_a_run_waits_for_its_turn_and_then_does_its_work(
    roundhouse: Any, prefect_server: str, slot: Any
) -> None:
    process = roundhouse.start("run", "digits", ROUNDHOUSE_PREFECT_API_URL=prefect_server)
    deadline = time.monotonic() + SECONDS
    while "Waiting for " not in logged(roundhouse) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "plan_run" not in logged(roundhouse)
    assert roundhouse.client.search_registered_models() == []
    slot()
    _, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, error
    assert roundhouse.registry() == [("digits", 1, {"challenger": 1, "champion": 1})]


def test_a_run_that_gives_up_ends_as_superseded(client: Any, slot: Any) -> None:
    parameters = {"pipeline": "digits", "ingestion": IngestionConfig(dataset="digits")}
    other = client.create_flow_run(train, name="the other", parameters=parameters)
    client.set_flow_run_state(other.id, Running())
    try:
        end = train(**parameters, overlap="supersede", return_state=True)
    finally:
        client.delete_flow_run(other.id)
    assert (end.name, end.type) == ("Superseded", StateType.COMPLETED)
    assert end.message == "superseded: the other is at work on digits"
    assert end.result().up_to_date == end.message


def logged(roundhouse: Any) -> str:
    return "".join(path.read_text() for path in (roundhouse.home / "logs").glob("*-digits-*.log"))
