"""The reproducing flow on versions of real digits and of trees, its stages called in turn."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import flows.reproducing
from infra.reports import status_of
from tasks import repeatability, reproduction, reproduction_plan, stages, tracking
from tasks.appraisal import Explanation, Exports, ModelCard, Slices
from tasks.config import (
    EvaluationConfig,
    IngestionConfig,
    ModelConfig,
    PipelineConfig,
    TrainingConfig,
)
from tasks.errors import ConfigError, DataError
from tasks.evaluation import evaluate_model
from tasks.freshness import Standing, fingerprint_parts, locate_source
from tasks.handoffs import CheckedData, RunContext
from tasks.ingestion import ingest_data
from tasks.judgement import FRESH_WEIGHTS, Promotion, Proof, Verdict
from tasks.packaging import package_model
from tasks.preprocessing import prepare_data
from tasks.registration import register_model
from tasks.registry import Registry
from tasks.settings import Settings
from tasks.summary import lineage_of, summarise_run
from tasks.training import train_model

DIGITS = PipelineConfig(
    pipeline="digits",
    ingestion=IngestionConfig(dataset="digits", rows=300),
    model=ModelConfig(hidden_units=(8,)),
    training=TrainingConfig(epochs=2),
)
TREES = PipelineConfig(
    pipeline="trees",
    ingestion=IngestionConfig(dataset="breast_cancer", rows=200),
    model=ModelConfig(architecture="boosting", leaf_nodes=4),
    training=TrainingConfig(epochs=4),
)


def make_version(settings: Settings, config: PipelineConfig) -> Any:
    """What a run of a pipeline leaves, its checks, proof and gate left out; its lineage."""
    experiment_id = tracking.open_experiment(
        settings.mlflow_uri, config.pipeline, settings.artifact_root
    )
    client = tracking.client(settings.mlflow_uri)
    context = RunContext(
        pipeline=config.pipeline,
        run_id=client.create_run(experiment_id).info.run_id,
        experiment_id=experiment_id,
        mlflow_uri=settings.mlflow_uri,
        mlflow_pages="http://127.0.0.1:5000",
        storage_uri=settings.storage_uri,
    )
    source = locate_source(config, settings)
    snapshot = ingest_data.fn(context, source, config.ingestion)
    checked = CheckedData(
        snapshot=snapshot, passed=1, warnings=(), total=1, report=snapshot.file,
        data_docs=snapshot.file,
    )  # fmt: skip
    prepared = prepare_data.fn(context, checked, config.split, config.preparation)
    trained = train_model.fn(context, prepared, config.model, config.training, FRESH_WEIGHTS)
    evaluated = evaluate_model.fn(context, prepared, trained, EvaluationConfig())
    package = package_model.fn(context, prepared, trained)
    parts = fingerprint_parts(config, source)
    standing = Standing(
        fingerprint="f" * 64, parts=parts, up_to_date=False, reason="first", sentence="first"
    )
    registered = register_model.fn(context, package, prepared, evaluated, standing)
    client.set_registered_model_alias(config.pipeline, "champion", str(registered.version))
    proof = Proof(
        uri=registered.uri, rows=1, largest_difference=0.0, tolerance=1e-4, load_seconds=0.1,
        predict_seconds=0.1,
    )  # fmt: skip
    promotion = Promotion(
        verdict=Verdict(promoted=True, rules=(), reason="good"), version=1, champion_before=None,
        champion=1, champion_metrics={}, compared_rows=0,
    )  # fmt: skip
    lineage = lineage_of(
        config, source=source, checks=checked, prepared=prepared, initial=FRESH_WEIGHTS,
        trained=trained, evaluation=evaluated, slices=Slices(), package=package,
        registered=registered, proof=proof, promotion=promotion, explanation=Explanation(),
        exports=Exports(),
    )  # fmt: skip
    card = ModelCard(html=snapshot.file, markdown=snapshot.file)
    summarise_run.fn(context, lineage, card)
    client.set_terminated(context.run_id, "FINISHED")
    return lineage


@pytest.fixture(scope="module")
def made(tmp_path_factory: Any, mlflow_database: Path) -> SimpleNamespace:
    """A home with a version of digits and one of trees, and their lineages."""
    home = tmp_path_factory.mktemp("reproduced")
    shutil.copyfile(mlflow_database, home / "mlflow.db")
    settings = Settings(home=home)
    lineages = {config.pipeline: make_version(settings, config) for config in (DIGITS, TREES)}
    return SimpleNamespace(home=home, settings=settings, **lineages)


@pytest.fixture
def client(made: SimpleNamespace) -> Any:
    return tracking.client(made.settings.mlflow_uri)


@pytest.fixture
def reproduce(made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The flow, outside of Prefect."""
    monkeypatch.setenv("ROUNDHOUSE_HOME", str(made.home))
    for name, value in vars(flows.reproducing).items():
        if isinstance(value, stages.Stage):
            monkeypatch.setattr(flows.reproducing, name, value.fn)
    function: Callable[..., Any] = flows.reproducing.reproduce.fn
    return function


@pytest.fixture
def compare_again(
    made: SimpleNamespace, reproduce: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """The flow for digits, in which the first training stands for the second."""
    monkeypatch.setattr(flows.reproducing, "train_model", lambda *arguments: made.digits.trained)
    return reproduce


@pytest.fixture
def network(made: SimpleNamespace, client: Any) -> Iterator[Path]:
    """The network of digits in the registry; whatever a test makes of it, it is as before then."""
    location = client.get_model_version("digits", "1").source.removeprefix("file://")
    path = Path(location) / "artifacts" / "network.keras"
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


def records(home: Path) -> dict[str, str]:
    """What later runs would recall, and the unfinished trainings."""
    found = [*home.glob("storage/records/**/*.json"), *home.glob("storage/unfinished/**/*")]
    return {str(path): path.read_text() for path in found if path.is_file()}


@pytest.mark.parametrize("name", ["digits", "trees"])
def test_a_version_comes_out_again_bit_for_bit(
    name: str, made: SimpleNamespace, reproduce: Any, client: Any
) -> None:
    before = records(made.home)
    found = reproduce(name)
    assert found.identical
    assert found.digest == found.reproduced_digest
    assert (found.weight_difference, found.prediction_difference) == (0.0, 0.0)
    assert found.cautions == ()
    assert found.rows == getattr(made, name).evaluation.rows
    assert f"{name} v1 came out again bit for bit: all weights are the same" in found.sentence
    # it was trained, not recalled; and what a run would recall is what it was
    assert found.seconds != getattr(made, name).trained.seconds
    assert records(made.home) == before
    assert [int(v.version) for v in client.search_model_versions(f"name = '{name}'")] == [1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "folder"), [("digits", ""), ("breast-cancer", ""), ("mnist-mlp", "mnist")]
)
def test_a_pipeline_by_the_command_comes_out_bit_for_bit_again_and_again(
    name: str, folder: str, roundhouse_at: Any, real_data: Any, data_dir: str | None, tmp_path: Path
) -> None:
    if folder:
        real_data(folder)
    command = roundhouse_at(tmp_path / "home", ROUNDHOUSE_DATA_DIR=data_dir or "")
    assert command("run", name).returncode == 0
    for _ in range(3):
        again = command("reproduce", name)
        assert again.returncode == 0, again.stderr
        assert f"{name} v1 came out again bit for bit" in " ".join(again.stdout.split())


def test_its_run_stands_below_the_one_that_made_the_version_and_is_no_run_of_the_pipeline(
    made: SimpleNamespace, compare_again: Any, client: Any
) -> None:
    maker = client.get_model_version("digits", "1").run_id
    client.set_tag(maker, "roundhouse.promoted", "true")
    found = compare_again("digits@champion")
    experiment = client.get_experiment_by_name("digits").experiment_id
    run = client.search_runs([experiment], order_by=["start_time DESC"])[0]
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == maker
    assert run.data.tags["roundhouse.reproduces"] == "models:/digits/1"
    assert run.data.tags["mlflow.note.content"].startswith(found.sentence)
    kept = Path(client.download_artifacts(run.info.run_id, "reproduction.json")).read_text()
    assert json.loads(kept)["digest"] == found.digest
    assert status_of("digits", "accuracy", made.settings)[-1] == "finished, promoted"


def test_weights_that_were_changed_are_noticed_with_the_largest_difference(
    network: Path, compare_again: Any
) -> None:
    from tasks.models.archive import open_network, save_network

    changed = open_network(network)
    weights = changed.get_weights()
    weights[0][3, 2] += 0.25
    changed.set_weights(weights)
    save_network(changed, network)
    found = compare_again("digits/1")
    assert not found.identical
    assert found.digest != found.reproduced_digest
    assert found.weight_difference == pytest.approx(0.25)
    assert 0 < found.prediction_difference < 1
    assert "but not bit for bit: the weights differ by up to 0.25 (" in found.sentence
    assert f"({found.differs_most}), the predictions of" in found.sentence
    assert found.differs_most.endswith("kernel")


def test_equal_weights_that_predict_otherwise_are_not_called_identical(
    made: SimpleNamespace, compare_again: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = iter([0.0, 0.25])
    honest = reproduction.predict
    monkeypatch.setattr(
        reproduction, "predict", lambda network, rows: honest(network, rows) + next(given)
    )
    found = compare_again("digits")
    assert found.weight_difference == 0
    assert not found.identical
    assert "not bit for bit: the weights are the same (digest" in found.sentence
    assert found.sentence.endswith(f"the predictions of {found.rows} test rows by up to 0.25")


def test_a_gpu_without_deterministic_operations_is_cautioned(made: SimpleNamespace) -> None:
    on_gpu = made.digits.trained.hardware.model_copy(update={"devices": ("GPU H200",)})
    trained = made.digits.trained.model_copy(update={"hardware": on_gpu})
    lineage = made.digits.model_copy(update={"trained": trained})
    registry = Registry.at(made.settings.mlflow_uri, "digits")
    *_, caution = repeatability.cautions_about(
        registry, lineage, repeatability.configuration_of(lineage)
    )
    assert caution.startswith("The training of then was not deterministic, and a GPU sums")


def test_other_code_is_said_with_the_commit_to_check_out(
    made: SimpleNamespace, compare_again: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = made.digits.surroundings.get("mlflow.source.git.commit", "")
    monkeypatch.setattr(repeatability, "code_digest", lambda modules: "another")
    monkeypatch.setattr(repeatability, "git_state", dict)
    found = compare_again("digits")
    assert found.identical
    (caution,) = found.cautions
    assert caution.startswith("The code is not that of then. ")
    if commit:
        assert f"git worktree add ../roundhouse-{commit[:12]} {commit} && cd " in caution
        assert "roundhouse reproduce digits/1" in caution


def test_a_snapshot_that_is_gone_is_read_from_the_source_again(
    made: SimpleNamespace, compare_again: Any
) -> None:
    path = Path(made.digits.checks.snapshot.file.uri)
    os.remove(path)  # noqa: PTH107
    assert compare_again("digits").identical
    assert path.is_file()


def test_a_source_that_changed_since_is_refused(made: SimpleNamespace) -> None:
    snapshot = made.digits.checks.snapshot
    other = snapshot.model_copy(
        update={"file": snapshot.file.model_copy(update={"sha256": "e" * 64})}
    )
    with pytest.raises(DataError, match=r"v1 of digits .* is gone .*sha256 e{64}, expected"):
        reproduction_plan.require_same_snapshot(made.digits, other)


def test_a_lineage_that_is_incomplete_or_of_another_release_is_refused(
    made: SimpleNamespace, reproduce: Any, client: Any
) -> None:
    run_id = client.get_model_version("trees", "1").run_id
    folder = client.get_run(run_id).info.artifact_uri.removeprefix("file://")
    kept = Path(folder, "lineage.json")
    content = kept.read_text()
    kept.write_text(json.dumps(json.loads(content) | {"of_tomorrow": 1}))
    with pytest.raises(ConfigError, match=r"v1 of trees was written by another release"):
        reproduce("trees")
    os.remove(kept)  # noqa: PTH107
    with pytest.raises(ConfigError, match=r"has no lineage\.json any more"):
        reproduce("trees")
    kept.write_text(content)
    client.delete_model_version_tag("trees", "1", "roundhouse.recorded")
    with pytest.raises(ConfigError, match=r"v1 of trees is incomplete: .*`roundhouse run trees`"):
        reproduce("trees")
    client.set_model_version_tag("trees", "1", "roundhouse.recorded", run_id)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("digit", r"no registered model 'digit'\. Did you mean 'digits'\?"),
        ("digits@previous", r"no alias 'previous'; expected champion \(v1\), or .* digits/1"),
        ("digits/7", r"digits has no version 7; expected one of 1"),
        ("digits one", r"Received 'digits one'; expected the name of a registered model"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(address: str, said: str, reproduce: Any) -> None:
    with pytest.raises(ConfigError, match=said):
        reproduce(address)
