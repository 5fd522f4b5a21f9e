"""What a real Prefect server is told, by the stages, of what happened to a pipeline."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from prefect import flow, runtime
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)

from tasks import announcements
from tasks.announcements import announce_failed_checks, label_flow_run
from tasks.appraisal import Slices
from tasks.columns import as_labels, as_pixels, typed
from tasks.config import CheckConfig, GateConfig
from tasks.datasets import DATASETS
from tasks.handoffs import RunContext, Snapshot
from tasks.judgement import Proof
from tasks.promotion import promote_model
from tasks.snapshots import write_snapshot
from tasks.storage import Storage
from tasks.validation import check_data

PROOF = Proof(
    uri="models:/trial/1", rows=1, largest_difference=0.0, tolerance=1e-4, load_seconds=0.1,
    predict_seconds=0.1,
)  # fmt: skip


@pytest.fixture
def told(prefect_server: str) -> Iterator[Callable[..., Any]]:
    """Calls a function in a flow run; gives what the server was told of it, and the run's id."""

    @flow(name="telling", persist_result=False)
    def telling(call: Any) -> str:
        try:
            call()
        finally:
            ids.append(runtime.flow_run.id)

    def run(call: Callable[[], Any]) -> tuple[list[dict[str, Any]], str]:
        telling(call, return_state=True)
        EventsWorker.drain_all()
        deadline = time.monotonic() + 10
        while not (events := found(ids[-1])) and time.monotonic() < deadline:
            time.sleep(0.2)
        return events, ids[-1]

    def found(run_id: str) -> list[dict[str, Any]]:
        body = {"limit": 50, "filter": {"event": {"prefix": ["roundhouse."]}}}
        events = client.request("POST", "/events/filter", json=body).json()["events"]
        return [e for e in events if run_id in str(e["related"])]

    ids: list[str] = []
    settings = {PREFECT_API_URL: prefect_server, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        yield run
        EventsWorker.drain_all()
        APILogWorker.drain_all(timeout=5)


def damaged(context: RunContext) -> Snapshot:
    """Digits of which one has a pixel that is too bright."""
    dataset, storage = DATASETS["digits"], Storage(context.storage_uri)
    pixels = np.random.default_rng(0).integers(0, 17, (400, 64), np.uint8)
    pixels[0, 0] = 99
    table = pa.table({"image": as_pixels(pixels), "digit": as_labels(np.arange(400) % 10)})
    with storage.workspace() as folder:
        write_snapshot(typed(table, dataset.columns, folder), folder / "snapshot.parquet")
        stored = storage.put_file(folder / "snapshot.parquet")
    return Snapshot(
        dataset="digits", problem=dataset.problem, file=stored, rows=400, columns=dataset.columns,
        source_digest="0" * 64,
    )  # fmt: skip


def test_failed_checks_are_told_with_their_sentence(told: Any, context: RunContext) -> None:
    snapshot = damaged(context)
    (event,), run_id = told(lambda: check_data.fn(context, snapshot, CheckConfig()))
    assert event["event"] == "roundhouse.checks.failed"
    assert event["resource"]["prefect.resource.id"] == "roundhouse.pipeline.trial"
    assert "pixels from 0 to 16; 1 of 400 rows" in event["payload"]["sentence"]
    assert event["payload"]["mlflow"] == context.run_page
    assert event["payload"]["prefect"].endswith(f"/runs/flow-run/{run_id}")


def test_a_champion_and_a_lost_gate_are_told_once_they_are_true(
    told: Any, context: RunContext, prepare_table: Any, release: Any
) -> None:
    prepared = prepare_table()
    made, worse = release(prepared), release(prepared, skill=-1.0, fingerprint="b")

    def promote(of: Any, **gate: Any) -> Any:
        return lambda: promote_model.fn(
            context, of.registered, PROOF.model_copy(update={"uri": of.registered.uri}),
            of.prepared, of.evaluation, of.package, Slices(), GateConfig(**gate),
        )  # fmt: skip

    (champion,), _ = told(promote(made))
    assert champion["event"] == "roundhouse.champion.promoted"
    assert champion["payload"]["sentence"].startswith("trial v1: ")
    assert champion["payload"]["version"] == 1
    assert (champion["payload"]["metric"], champion["payload"]["value"] > 0.5) == ("accuracy", True)
    (lost,), _ = told(promote(worse, beat_baseline=False))
    assert (lost["event"], lost["payload"]["version"]) == ("roundhouse.gate.lost", 2)


def test_the_flow_run_says_where_its_mlflow_run_is(
    told: Any, context: RunContext, prefect_server: str
) -> None:
    def both() -> None:
        label_flow_run(context)
        announce_failed_checks(context, "2 of 9 checks failed.")

    _, run_id = told(both)
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(run_id).labels["roundhouse.mlflow"] == context.run_page


def test_a_server_that_cannot_be_told_hurts_nothing(
    told: Any, context: RunContext, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def away(*arguments: Any, **options: Any) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(announcements, "emit_event", away)
    monkeypatch.setattr(announcements, "get_client", away)

    def both() -> None:
        label_flow_run(context)
        announce_failed_checks(context, "2 of 9 checks failed.")
        raise SystemExit

    with pytest.raises(SystemExit):
        told(both)
    said = [record.getMessage() for record in caplog.records]
    assert "The event roundhouse.checks.failed could not be sent: away" in said


def test_nothing_is_told_outside_of_a_flow_run(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(announcements, "emit_event")
    monkeypatch.delattr(announcements, "get_client")
    label_flow_run(context)
    announce_failed_checks(context, "2 of 9 checks failed.")
