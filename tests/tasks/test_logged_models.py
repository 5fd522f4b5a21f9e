"""Each version once, whenever the process that makes it is killed."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks import logged_models, processes, tracking
from tasks.appraisal import Explanation, ModelCard, Slices
from tasks.config import GateConfig, IngestionConfig, PipelineConfig
from tasks.exports import Exports
from tasks.handoffs import CheckedData, RunContext, Source
from tasks.judgement import FRESH_WEIGHTS, Proof
from tasks.promotion import promote_model
from tasks.registration import register_model
from tasks.registry import PROOF, RECORDED, Registry
from tasks.summary import lineage_of, summarise_run

# of the registration, and of what comes after it
WRITES = (
    "create_logged_model", "log_model_artifacts", "finalize_logged_model", "log_outputs",
    "log_batch", "create_registered_model", "create_model_version", "set_logged_model_tags",
)  # fmt: skip
LATER_WRITES = (
    "set_model_version_tag", "delete_model_version_tag", "update_model_version",
    "set_registered_model_alias", "delete_registered_model_alias", "set_registered_model_tag",
    "update_registered_model", "log_artifacts", "set_tag",
)  # fmt: skip


class Killed(BaseException):
    """What happens to a process that is killed: nothing that it does from there on has effect."""


@pytest.fixture
def made(release: Any, prepare_table: Any) -> SimpleNamespace:
    """What is registered; one version of it, of another fingerprint, is there."""
    made: SimpleNamespace = release(prepare_table())
    return made


@pytest.fixture
def register(context: RunContext, made: SimpleNamespace) -> Callable[..., Any]:
    def run(fingerprint: str, **changed: str) -> Any:
        standing = made.standing.model_copy(update={"fingerprint": fingerprint})
        place = context.model_copy(update=changed)
        return register_model.fn(place, made.package, made.prepared, made.evaluation, standing)

    return run


@pytest.fixture
def killed_at(context: RunContext) -> Callable[..., bool]:
    """Calls a function and kills it before its n-th write; whether it came so far."""

    def run(
        count: int, function: Callable[..., Any], *arguments: Any, names: Sequence[str] = WRITES
    ) -> bool:
        client, written = tracking.client(context.mlflow_uri), []

        def dying(write: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                written.append(write)
                if len(written) >= count:
                    raise Killed
                return write(*args, **kwargs)

            return call

        with pytest.MonkeyPatch.context() as patch:
            for name in names:
                patch.setattr(client, name, dying(getattr(client, name)))
            try:
                function(*arguments)
            except Killed:
                return True
            return False

    return run


def models_and_versions(context: RunContext) -> tuple[list[Any], list[Any]]:
    client = tracking.client(context.mlflow_uri)
    return (
        list(client.search_logged_models([context.experiment_id])),
        list(client.search_model_versions("name = 'trial'")),
    )


def files_below(location: str) -> set[str]:
    root = Path(location.removeprefix("file://"))
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def in_another_run(context: RunContext, **tags: str) -> str:
    client = tracking.client(context.mlflow_uri)
    return str(client.create_run(context.experiment_id, tags=tags).info.run_id)


def test_killed_before_any_write_and_run_again_there_is_one_version(
    context: RunContext, made: SimpleNamespace, register: Any, killed_at: Any
) -> None:
    times = 0
    while killed_at(times + 1, register, f"{times}"):
        again = register(f"{times}")
        assert again == register(f"{times}")
        times += 1
    models, versions = models_and_versions(context)
    assert times >= len(WRITES) - 1
    # the one before, those that were killed, and the last, which no kill came to
    assert sorted(int(version.version) for version in versions) == list(range(1, times + 3))
    assert len({version.tags["roundhouse.fingerprint"] for version in versions}) == times + 2
    locations = {version.source: int(version.version) for version in versions}
    assert {model.artifact_location for model in models} == set(locations)
    for model in models:
        (link,) = json.loads(model.tags["mlflow.modelVersions"])
        assert link["version"] == locations[model.artifact_location]
        assert (model.status, model.tags[logged_models.REGISTRATION]) == ("READY", "done")
        assert files_below(model.artifact_location) >= set(made.package.files)
    outputs = tracking.client(context.mlflow_uri).get_run(context.run_id).outputs.model_outputs
    assert sorted(o.model_id for o in outputs) == sorted(model.model_id for model in models)


@pytest.fixture
def go_through(
    context: RunContext, made: SimpleNamespace, register: Any, train_quickly: Any
) -> Callable[[str], None]:
    """All that a run does once it has a package; its proof is written down, not made."""
    file = made.prepared.snapshot.file
    checked = CheckedData(
        snapshot=made.prepared.snapshot, passed=1, warnings=(), total=1, report=file, data_docs=file
    )
    source = Source(dataset="trial", location="here", files=(), digest="d")
    config = PipelineConfig(pipeline="trial", ingestion=IngestionConfig(dataset="trial"))
    trained = train_quickly(made.prepared)
    proof = Proof(
        uri="models:/trial/1", rows=1, largest_difference=0.0, tolerance=1e-4, load_seconds=0.1,
        predict_seconds=0.1,
    )  # fmt: skip

    def run(fingerprint: str) -> None:
        registered = register(fingerprint)
        of = proof.model_copy(update={"uri": registered.uri})
        Registry(context).tag(registered.version, {PROOF: of.model_dump_json()})
        promotion = promote_model.fn(
            context, registered, of, made.prepared, made.evaluation, made.package, Slices(),
            GateConfig(beat_baseline=False, compare_with_champion=False),
        )  # fmt: skip
        lineage = lineage_of(
            config, source=source, checks=checked, prepared=made.prepared, initial=FRESH_WEIGHTS,
            trained=trained, evaluation=made.evaluation, slices=Slices(), package=made.package,
            registered=registered, proof=proof, promotion=promotion, explanation=Explanation(),
            exports=Exports(),
        )  # fmt: skip
        summarise_run.fn(context, lineage, ModelCard(html=file, markdown=file))

    return run


def test_killed_before_any_later_write_and_run_again_all_is_complete(
    context: RunContext, go_through: Any, killed_at: Any
) -> None:
    client, times = tracking.client(context.mlflow_uri), 0
    while killed_at(times + 1, go_through, f"{times}", names=LATER_WRITES):
        go_through(f"{times}")
        times += 1
        version = client.get_model_version("trial", str(times + 1))
        assert version.tags[RECORDED] == context.run_id
        assert json.loads(version.tags["roundhouse.verdict"])["promoted"]
        aliases = client.get_registered_model("trial").aliases
        assert (int(aliases["champion"]), int(aliases["challenger"])) == (times + 1, times + 1)
        if times > 1:
            assert int(aliases["previous"]) == times
        path = client.download_artifacts(context.run_id, "lineage.json")
        assert json.loads(Path(path).read_text())["registered"]["version"] == times + 1
    assert times > 6
    assert len(models_and_versions(context)[1]) == times + 2


def test_a_half_written_package_is_written_again(
    context: RunContext, made: SimpleNamespace, register: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = tracking.client(context.mlflow_uri)
    write = client.log_model_artifacts

    def break_off(model_id: str, folder: str) -> None:
        for path in list(Path(folder).rglob("*"))[::2]:
            path.unlink() if path.is_file() else None
        write(model_id, folder)
        raise Killed

    monkeypatch.setattr(client, "log_model_artifacts", break_off)
    with pytest.raises(Killed):
        register("b")
    assert len(models_and_versions(context)[1]) == 1
    monkeypatch.setattr(client, "log_model_artifacts", write)
    assert register("b").version == 2
    (location,) = {v.source for v in models_and_versions(context)[1] if int(v.version) == 2}
    assert files_below(location) >= set(made.package.files)


def left_by(context: RunContext, register: Any, killed_at: Any, **tags: str) -> Any:
    """A logged model that another run left, without a version; with that run's tags."""
    run_id = in_another_run(context, **tags)
    assert killed_at(5, lambda: register("of another", run_id=run_id))
    (left,) = [m for m in models_and_versions(context)[0] if m.source_run_id == run_id]
    assert files_below(left.artifact_location)
    return left


def gone() -> str:
    return f"{processes.this_process().rpartition(':')[0]}:{2**22 + 1}"


@pytest.mark.parametrize(
    ("tags", "is_left_alone"),
    [
        ({"roundhouse.process": gone()}, False),
        ({"roundhouse.process": f"{gone().rpartition(':')[0]}:1"}, True),
        ({"roundhouse.process": "elsewhere:1"}, True),
        ({"roundhouse.process": "elsewhere:1", "roundhouse.prefect_flow_run": "same"}, False),
    ],
    ids=["its process is gone", "it is alive", "on another machine", "an attempt before this"],
)
def test_what_nobody_goes_on_with_is_deleted_with_its_files(
    context: RunContext, register: Any, killed_at: Any, tags: dict[str, str], is_left_alone: bool
) -> None:
    tracking.client(context.mlflow_uri).set_tag(
        context.run_id, "roundhouse.prefect_flow_run", "same"
    )
    left = left_by(context, register, killed_at, **tags)
    register("b")
    models, _ = models_and_versions(context)
    assert (left.model_id in {model.model_id for model in models}) is is_left_alone
    assert bool(files_below(left.artifact_location)) is is_left_alone


def test_what_was_left_on_another_machine_is_deleted_after_a_day(
    context: RunContext, register: Any, killed_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = left_by(context, register, killed_at, **{"roundhouse.process": "elsewhere:1"})
    later = time.time() + logged_models.LEFT_AFTER_SECONDS
    monkeypatch.setattr(logged_models.time, "time", lambda: later)
    register("b")
    assert not files_below(left.artifact_location)


def test_what_an_ended_or_deleted_run_left_is_deleted(
    context: RunContext, register: Any, killed_at: Any
) -> None:
    client = tracking.client(context.mlflow_uri)
    left = left_by(context, register, killed_at, **{"roundhouse.process": "elsewhere:1"})
    client.set_terminated(left.source_run_id, "FAILED")
    register("b")
    assert left.model_id not in {m.model_id for m in models_and_versions(context)[0]}


def test_a_model_that_is_not_ours_is_left_alone(
    context: RunContext, made: SimpleNamespace, register: Any
) -> None:
    client = tracking.client(context.mlflow_uri)
    own = client.create_logged_model(context.experiment_id, "by hand")
    register("b")
    assert own.model_id in {model.model_id for model in models_and_versions(context)[0]}


def test_files_that_cannot_be_deleted_stop_nothing(
    context: RunContext,
    register: Any,
    killed_at: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    left = left_by(context, register, killed_at, **{"roundhouse.process": gone()})
    client = tracking.client(context.mlflow_uri)
    with monkeypatch.context() as patch:
        patch.setattr(client, "delete_logged_model", _refuse)
        register("b")
    assert f"The unfinished model {left.model_id} could not be deleted" in caplog.text
    register("c")
    assert left.model_id not in {model.model_id for model in models_and_versions(context)[0]}


def test_of_two_machines_that_register_the_same_the_first_counts(
    context: RunContext, register: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock holds on one machine only: neither sees the other's version before its own."""
    first = register("b")
    find, asked = Registry.find, []

    def too_early(registry: Registry, tags: Any) -> int | None:
        asked.append(tags)
        return None if len(asked) == 1 else find(registry, tags)

    monkeypatch.setattr(Registry, "find", too_early)
    assert register("b") == first
    models, versions = models_and_versions(context)
    assert sorted(int(version.version) for version in versions) == [1, 2]
    assert len(models) == 2


def _refuse(*arguments: Any) -> None:
    raise OSError("read-only")
