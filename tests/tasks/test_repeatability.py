from types import SimpleNamespace

import pytest

from tasks import repeatability
from tasks.config import IngestionConfig, PipelineConfig
from tasks.errors import ConfigError
from tasks.freshness import training_modules
from tasks.judgement import Hardware
from tasks.registry import PART_DIGEST
from tasks.repeatability import cautions_about, checkout, configuration_of, other_machine

HERE = Hardware(
    backend="tensorflow", devices=("CPU x86_64",), precision="float32", cpu_count=2,
    processor="Epyc",
)  # fmt: skip
CONFIG = PipelineConfig(pipeline="trial", ingestion=IngestionConfig(dataset="digits"))
THEN = {"mlflow.source.git.commit": "c" * 40, "roundhouse.git_dirty": "false"}


def lineage(surroundings=THEN, resumed_from=0, hardware=HERE, **configuration):
    return SimpleNamespace(
        registered=SimpleNamespace(name="trial", version=3),
        surroundings=surroundings,
        configuration=CONFIG.model_dump(mode="json") | configuration,
        trained=SimpleNamespace(hardware=hardware, resumed_from=resumed_from),
    )


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch):
    monkeypatch.setattr(repeatability, "git_state", lambda: {"mlflow.source.git.commit": "d" * 40})
    monkeypatch.setattr(repeatability, "find_hardware", lambda precision: HERE)
    monkeypatch.setattr(repeatability, "environment_digest", lambda: "lock")


def registry(**parts):
    digests = {"code": repeatability.code_digest(training_modules(CONFIG)), "environment": "lock"}
    tags = {PART_DIGEST.format(name): digest for name, digest in (digests | parts).items()}
    return SimpleNamespace(version=lambda number: SimpleNamespace(tags=tags))


def test_nothing_is_said_where_all_is_as_it_was():
    assert cautions_about(registry(), lineage(), CONFIG) == ()


@pytest.mark.parametrize(
    ("part", "said"), [("code", "The code is not"), ("environment", "The lock file or the version")]
)
def test_other_code_and_another_lock_are_said_with_their_commit(part, said):
    (caution,) = cautions_about(registry(**{part: "another"}), lineage(), CONFIG)
    assert caution.startswith(said)
    assert f"git worktree add ../roundhouse-{'c' * 12} {'c' * 40} && cd " in caution
    assert "roundhouse reproduce trial/3" in caution


def test_a_training_that_was_interrupted_is_said():
    (caution,) = cautions_about(registry(), lineage(resumed_from=4), CONFIG)
    assert "went on after epoch 4" in caution


def test_another_processor_is_another_machine_and_more_cores_are_not():
    assert other_machine(HERE, HERE.model_copy(update={"cpu_count": 64})) == []
    (caution,) = other_machine(HERE, HERE.model_copy(update={"processor": "Xeon"}))
    assert "it was CPU x86_64 Epyc (2 cores), and is CPU x86_64 Xeon" in caution


def test_another_backend_is_said_with_how_to_have_that_of_then():
    (caution,) = other_machine(HERE.model_copy(update={"backend": "jax"}), HERE)
    assert "was trained on jax, and is now on tensorflow" in caution
    assert caution.endswith("Set KERAS_BACKEND=jax.")


@pytest.mark.parametrize(
    ("surroundings", "said"),
    [
        ({}, "not under version control"),
        (THEN | {"roundhouse.git_dirty": "true"}, "changes on top of that commit, which no commit"),
        ({"mlflow.source.git.commit": "d" * 40}, "The commit is the same, dddddddddddd; the"),
    ],
)
def test_what_no_commit_holds_is_said(surroundings, said):
    assert said in checkout(lineage(surroundings))


def test_the_precision_is_that_of_then_whatever_is_best_here():
    low = HERE.model_copy(update={"precision": "mixed_bfloat16"})
    assert configuration_of(lineage(hardware=low)).training.precision == "mixed_bfloat16"


def test_settings_of_another_release_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"v3 of trial has settings .*\(pace\).* git worktree"):
        configuration_of(lineage(pace="fast"))
