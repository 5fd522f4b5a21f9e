import pytest

from tasks import tracking
from tasks.config import IngestionConfig, ModelConfig, PipelineConfig, TrainingConfig
from tasks.fingerprints import code_digest
from tasks.freshness import find_standing, training_modules
from tasks.handoffs import Source
from tasks.processes import this_process
from tasks.registry import (
    CHAMPION,
    FINGERPRINT,
    JUDGED_AGAINST,
    PART_DIGEST,
    RECORDED,
    VERDICT,
    WITHDRAWN,
)

HOST = this_process().rpartition(":")[0]
SOURCE = Source(dataset="digits", location="here", files=(), digest="d")
CONFIG = PipelineConfig(pipeline="trial", ingestion=IngestionConfig(dataset="digits"))


@pytest.fixture
def stand(context):
    return lambda config=CONFIG, source=SOURCE: find_standing(config, source, context.mlflow_uri)


@pytest.fixture
def register(context, stand, tmp_path):
    """Registers a version of a configuration, and makes it the champion if asked to."""
    client = tracking.client(context.mlflow_uri)

    def make(config=CONFIG, *, champion=False, recorded=True, **tags):
        standing = stand(config)
        if not client.search_registered_models("name = 'trial'"):
            client.create_registered_model("trial")
        digests = {PART_DIGEST.format(name): digest for name, digest in standing.parts.items()}
        own = {FINGERPRINT: standing.fingerprint, **digests, **tags}
        own |= {RECORDED: "a run"} if recorded else {}
        version = client.create_model_version("trial", str(tmp_path), tags=own).version
        if champion:
            client.set_registered_model_alias("trial", CHAMPION, version)
        return int(version)

    return make


def changed(**fields):
    return CONFIG.model_copy(update=fields)


def test_the_first_training_has_nothing_to_be_compared_with(stand):
    standing = stand()
    assert not standing.up_to_date
    assert standing.sentence == "to be trained: first training"
    assert (standing.version, standing.champion) == (None, None)


def test_an_unchanged_champion_is_up_to_date(stand, register):
    register(champion=True)
    standing = stand(changed(ingestion=IngestionConfig(dataset="digits", location="elsewhere")))
    assert standing.up_to_date
    assert standing.sentence.startswith("up to date: champion v1 was trained from this data")


def test_what_changed_is_named(stand, register):
    register(champion=True)
    assert stand(changed(training=TrainingConfig(epochs=3))).reason == "configuration changed"
    assert stand(source=SOURCE.model_copy(update={"digest": "e"})).reason == "data changed"


def test_a_version_that_lost_against_todays_champion_is_up_to_date(stand, register):
    other = changed(training=TrainingConfig(epochs=3))
    register(other, champion=True)
    register(**{JUDGED_AGAINST: "1"})
    assert stand().up_to_date
    assert stand().sentence.endswith("did not become champion (v1 is)")
    register(other, champion=True)
    assert not stand().up_to_date


def test_a_version_that_lost_where_there_is_no_champion_says_so(stand, register):
    register(**{JUDGED_AGAINST: ""})
    assert stand().sentence.endswith("did not become champion (there is none)")


def test_a_promotion_that_broke_off_is_work_to_do(stand, register):
    register(**{VERDICT: '{"promoted": true}'})
    standing = stand()
    assert not standing.up_to_date
    assert standing.sentence == "to be trained: not judged to the end"
    assert standing.version == 1


@pytest.mark.parametrize("champion", [True, False])
def test_a_run_that_broke_off_before_its_lineage_was_kept_is_work_to_do(stand, register, champion):
    register(champion=champion, recorded=False, **{JUDGED_AGAINST: ""})
    assert stand().sentence == "to be trained: not recorded to the end"


def test_a_run_that_broke_off_before_it_was_closed_is_work_to_do(context, stand, register):
    register(champion=True)
    tags = {"roundhouse.process": context.run_id, "roundhouse.fingerprint": stand().fingerprint}
    client = tracking.client(context.mlflow_uri)
    for key, value in tags.items():
        client.set_tag(context.run_id, key, value)
    assert stand().up_to_date
    client.set_tag(context.run_id, "roundhouse.process", f"{HOST}:{2**22 + 1}")
    assert not stand().up_to_date
    client.set_terminated(context.run_id, "FINISHED")
    assert stand().up_to_date


def test_another_champion_is_a_reason_to_judge_again(stand, register):
    register(changed(training=TrainingConfig(epochs=3)), champion=True)
    register(**{JUDGED_AGAINST: ""})
    assert stand().reason == "champion changed"


def test_what_was_rolled_back_is_not_trained_again_until_something_changes(stand, register):
    register(changed(training=TrainingConfig(epochs=3)), champion=True)
    register(**{JUDGED_AGAINST: "", WITHDRAWN: "rolled back by ann on 2026-01-02: it errs"})
    standing = stand()
    assert standing.up_to_date
    assert "code and rolled back by ann on 2026-01-02: it errs; v1 stays" in standing.sentence
    assert 'roundhouse promote trial 2 --because "..."' in standing.sentence
    assert stand(changed(training=TrainingConfig(epochs=4))).reason == "configuration changed"


@pytest.mark.parametrize("part", ["__init__", "ends", "archive", "cnn"])
def test_the_code_of_the_network_is_in_the_fingerprint(part):
    config = changed(model=ModelConfig(architecture="cnn"))
    assert f"tasks.models.{part}" in training_modules(config)
    assert "tasks.models.mlp" not in training_modules(config)
    assert code_digest(training_modules(config)) != code_digest(training_modules(CONFIG))
