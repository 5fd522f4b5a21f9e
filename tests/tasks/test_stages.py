import logging
from pathlib import Path

import pytest

from tasks import tracking
from tasks.config import TrainingConfig
from tasks.errors import DataCheckFailed, ServiceError
from tasks.handoffs import RunContext, Source, StoredFile
from tasks.stages import may_be_cured, stage
from tasks.storage import Storage

CALLS: list[str] = []


@stage(code=("tasks.config",))
def turn_engine(context: RunContext, source: Source, config: TrainingConfig) -> StoredFile:
    """Turns an engine."""
    CALLS.append(source.digest)
    return Storage(context.storage_uri).put_bytes(f"{source.digest} {config.epochs}".encode())


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


@pytest.fixture
def source() -> Source:
    return Source(dataset="digits", location="here", files=(), digest="abc")


def test_an_unchanged_stage_is_not_run_again(context: RunContext, source: Source) -> None:
    first = turn_engine.fn(context, source, TrainingConfig())
    again = turn_engine.fn(context, source, TrainingConfig())
    assert first == again
    assert CALLS == ["abc"]


def test_a_changed_configuration_runs_it_again(context: RunContext, source: Source) -> None:
    turn_engine.fn(context, source, TrainingConfig(epochs=1))
    turn_engine.fn(context, source, TrainingConfig(epochs=2))
    assert len(CALLS) == 2


def test_changed_data_runs_it_again(context: RunContext, source: Source) -> None:
    turn_engine.fn(context, source, TrainingConfig())
    turn_engine.fn(context, source.model_copy(update={"digest": "def"}), TrainingConfig())
    assert CALLS == ["abc", "def"]


def test_another_run_of_the_pipeline_reuses_it(context: RunContext, source: Source) -> None:
    turn_engine.fn(context, source, TrainingConfig())
    client = tracking.client(context.mlflow_uri)
    other = client.create_run(context.experiment_id).info.run_id
    turn_engine.fn(context.model_copy(update={"run_id": other}), source, TrainingConfig())
    assert CALLS == ["abc"]
    assert [f.path for f in client.list_artifacts(other, "handoffs")] == [
        "handoffs/turn_engine.json"
    ]


def test_force_runs_it_again(context: RunContext, source: Source) -> None:
    turn_engine.fn(context, source, TrainingConfig())
    turn_engine.fn(context.model_copy(update={"force": True}), source, TrainingConfig())
    assert len(CALLS) == 2


def test_attempts_of_a_forced_run_go_on_from_one_another_and_from_no_other_run(
    context: RunContext, source: Source
) -> None:
    turn_engine.fn(context, source, TrainingConfig())
    forced = context.model_copy(update={"force": True, "attempt_of": "a"})
    for run in (forced, forced, forced.model_copy(update={"attempt_of": "b"})):
        turn_engine.fn(run, source, TrainingConfig())
    assert len(CALLS) == 3
    turn_engine.fn(context, source, TrainingConfig())
    assert len(CALLS) == 3


def test_a_lost_file_runs_it_again(context: RunContext, source: Source) -> None:
    stored = turn_engine.fn(context, source, TrainingConfig())
    Path(stored.uri).unlink()
    turn_engine.fn(context, source, TrainingConfig())
    assert len(CALLS) == 2
    assert Path(stored.uri).is_file()


def test_a_damaged_record_runs_it_again(context: RunContext, source: Source) -> None:
    turn_engine.fn(context, source, TrainingConfig())
    record = next(Path(context.storage_uri).rglob("records/turn_engine/*.json"))
    record.write_text('{"uri": ')
    turn_engine.fn(context, source, TrainingConfig())
    assert len(CALLS) == 2


def test_the_evidence_of_a_failure_is_kept_with_the_run(context: RunContext) -> None:
    @stage(code=())
    def fail(context: RunContext) -> StoredFile:
        report = Storage(context.storage_uri).put_bytes(b"{}", ".json")
        raise DataCheckFailed("2 of 9 checks failed", evidence={"checks/report.json": report})

    with pytest.raises(DataCheckFailed):
        fail.fn(context)
    files = tracking.client(context.mlflow_uri).list_artifacts(context.run_id, "checks")
    assert [file.path for file in files] == ["checks/report.json"]


def test_start_and_end_are_announced(
    context: RunContext, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="tasks")
    turn_engine.fn(context, source, TrainingConfig())
    turn_engine.fn(context, source, TrainingConfig())
    events = [record.event for record in caplog.records if hasattr(record, "event")]
    assert events == ["started", "finished", "started", "reused"]


class Failed:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def result(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "cured"),
    [(ServiceError("no answer"), True), (DataCheckFailed("bad"), False), (TypeError("bug"), False)],
)
def test_only_a_service_that_does_not_answer_is_tried_again(error: Exception, cured: bool) -> None:
    assert may_be_cured(None, None, Failed(error)) is cured  # type: ignore[arg-type]


def test_a_storage_that_moved_is_reused_at_its_new_place(
    context: RunContext, source: Source, tmp_path: Path
) -> None:
    first = turn_engine.fn(context, source, TrainingConfig())
    moved = Path(context.storage_uri).rename(tmp_path / "moved")
    at_new_place = context.model_copy(update={"storage_uri": str(moved)})
    again = turn_engine.fn(at_new_place, source, TrainingConfig())
    assert CALLS == ["abc"]
    assert again.sha256 == first.sha256
    assert Path(again.uri).is_relative_to(moved)
    assert Storage(str(moved)).read_bytes(first) == b"abc 20"
