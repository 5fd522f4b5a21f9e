import numpy as np
import pytest

from tasks import tracking
from tasks.appraisal import Slices
from tasks.cards import NOT_JUDGED
from tasks.challenge import aligned, rows_unseen
from tasks.config import GateConfig
from tasks.errors import ConfigError, ProofFailed, ServiceError
from tasks.judgement import Proof
from tasks.promotion import promote_model
from tasks.registry import Registry
from tasks.storage import Storage

PROOF = Proof(
    uri="models:/trial/1",
    rows=1,
    largest_difference=0.0,
    tolerance=1e-4,
    load_seconds=0.1,
    predict_seconds=0.1,
)


def proof_of(made):
    return PROOF.model_copy(update={"uri": made.registered.uri})


@pytest.fixture
def promote(context):
    def run(made, **config):
        return promote_model.fn(
            context, made.registered, proof_of(made), made.prepared, made.evaluation, made.package,
            Slices(), GateConfig(**config),
        )  # fmt: skip

    return run


@pytest.fixture
def aliases(context):
    client = tracking.client(context.mlflow_uri)
    return lambda: {k: int(v) for k, v in client.get_registered_model("trial").aliases.items()}


def test_the_first_good_model_becomes_champion(context, prepare_table, release, promote, aliases):
    promotion = promote(release(prepare_table()))
    assert promotion.verdict.promoted
    assert "; there is no champion yet; " in promotion.verdict.reason
    assert promotion.verdict.reason.endswith("; promoted")
    assert aliases() == {"challenger": 1, "champion": 1}
    tags = tracking.client(context.mlflow_uri).get_model_version("trial", "1").tags
    assert tags["roundhouse.judged_against"] == ""
    assert '"promoted":true' in tags["roundhouse.verdict"]


def test_no_alias_moves_with_the_proof_of_another_version(context, prepare_table, release, aliases):
    made = release(prepare_table())
    other = PROOF.model_copy(update={"uri": "models:/trial/2"})
    with pytest.raises(ProofFailed, match="models:/trial/1 came with the proof of models:/trial/2"):
        promote_model.fn(
            context, made.registered, other, made.prepared, made.evaluation, made.package,
            Slices(), GateConfig(),
        )  # fmt: skip
    assert aliases() == {}


def test_a_package_beyond_its_budget_does_not_move_the_champion(
    prepare_table, release, promote, aliases
):
    promotion = promote(release(prepare_table()), size_mb=0.001, latency_ms=1)
    assert [r.name for r in promotion.verdict.rules if not r.passed] == ["latency", "size"]
    assert aliases() == {"challenger": 1}


def test_promoting_twice_moves_nothing_and_says_the_same(prepare_table, release, promote, aliases):
    made = release(prepare_table())
    first, second = promote(made), promote(made)
    assert second.verdict == first.verdict
    assert (second.champion_before, second.champion) == (1, 1)
    assert aliases() == {"challenger": 1, "champion": 1}


def test_the_page_of_a_judged_version_says_how_it_was_judged(
    context, prepare_table, release, promote
):
    prepared = prepare_table()
    first = promote(release(prepared))
    worse = promote(release(prepared, skill=-1.0, fingerprint="b"), beat_baseline=False)
    client = tracking.client(context.mlflow_uri)
    for number, promotion in enumerate((first, worse), start=1):
        page = client.get_model_version("trial", str(number)).description
        assert promotion.verdict.reason.partition(";")[0] in page.partition("\n")[0]
        assert "Dataset: `customers`" in page
        assert NOT_JUDGED not in page
    assert page.startswith("Not promoted: accuracy ")
    assert "- ✗ is not worse than the champion before: " in page
    good = client.get_model_version("trial", "1").description
    assert good.startswith("Promoted: accuracy ")
    assert "- ✓ beats the simplest baseline: " in good


def test_a_page_that_was_not_completed_is_so_by_the_next_judgement(
    context, prepare_table, release, promote, monkeypatch
):
    made, describe = release(prepare_table()), Registry.describe
    monkeypatch.setattr(Registry, "describe", _break_off)
    with pytest.raises(ServiceError):
        promote(made)
    monkeypatch.setattr(Registry, "describe", describe)
    version = Registry(context).version
    assert NOT_JUDGED in version(1).description
    promote(made)
    page = version(1).description
    assert NOT_JUDGED not in page
    assert "there is no champion yet" in page
    promote(made)
    assert version(1).description == page


def _break_off(*arguments):
    raise ServiceError("The registry is away.")


def test_a_trial_run_leaves_the_champion_where_it_is(prepare_table, release, promote, aliases):
    made = release(prepare_table())
    trial = made.prepared.snapshot.model_copy(update={"trial": True})
    made.prepared = made.prepared.model_copy(update={"snapshot": trial})
    assert "comes from a trial run" in promote(made).verdict.reason
    assert aliases() == {"challenger": 1}


def test_a_model_that_beats_nothing_never_becomes_champion(
    prepare_table, release, promote, aliases
):
    promotion = promote(release(prepare_table(), skill=0.0))
    assert not promotion.verdict.promoted
    assert "does not beat the majority class's" in promotion.verdict.reason
    assert aliases() == {"challenger": 1}


def test_a_worse_model_leaves_the_champion_where_it_is(prepare_table, release, promote, aliases):
    prepared = prepare_table()
    promote(release(prepared))
    worse = release(prepared, skill=-1.0, fingerprint="b")
    promotion = promote(worse, beat_baseline=False)
    assert "is worse than champion v1's" in promotion.verdict.reason
    assert promotion.compared_rows == prepared.test.count
    assert promotion.champion_metrics["accuracy"] > worse.evaluation.metrics["accuracy"]
    assert aliases() == {"champion": 1, "challenger": 2}


def test_an_equal_model_takes_over_and_the_one_before_is_kept(
    prepare_table, release, promote, aliases
):
    prepared = prepare_table()
    promote(release(prepared))
    promotion = promote(release(prepared, fingerprint="b"))
    assert "predicts the same as champion v1 on all" in promotion.verdict.reason
    assert (promotion.champion_before, promotion.champion) == (1, 2)
    assert aliases() == {"previous": 1, "champion": 2, "challenger": 2}


def test_a_champion_is_not_judged_on_rows_it_was_trained_on(prepare_table, release, promote):
    promote(release(prepare_table(seed=1)))
    prepared = prepare_table(seed=2)
    made = release(prepared, fingerprint="b")
    few = promote(made)
    assert "it was not trained on" in few.verdict.reason
    assert "fewer than the 30 expected (gate.minimum_rows)" in few.verdict.reason
    promotion = promote(made, minimum_rows=1)
    assert 0 < promotion.compared_rows < prepared.test.count / 2


def test_rows_that_train_elsewhere_are_seen(context, prepare_table):
    prepared, storage = prepare_table(seed=2), Storage(context.storage_uri)
    other = prepare_table(seed=1)
    rows = np.load(storage.path(prepared.test.rows))
    unseen = rows[rows_unseen(storage, prepared, rows, other.split)]
    assert set(unseen) == set(rows) & set(np.load(storage.path(other.test.rows)))


def test_a_champion_that_cannot_score_todays_rows_is_said_to_and_kept(
    prepare_table, release, promote, aliases
):
    promote(release(prepare_table()))
    made = release(prepare_table(renamed="age"), fingerprint="b")
    promotion = promote(made)
    assert "cannot be compared with champion v1" in promotion.verdict.reason
    assert "missing inputs ['months']" in promotion.verdict.reason
    assert "--set gate.compare_with_champion=false" in promotion.verdict.reason
    assert aliases()["champion"] == 1
    assert promote(made, compare_with_champion=False).champion == 2


def test_a_champion_of_unknown_origin_is_not_compared_with(
    context, prepare_table, release, promote
):
    promote(release(prepare_table()))
    tracking.client(context.mlflow_uri).delete_model_version_tag("trial", "1", "roundhouse.split")
    promotion = promote(release(prepare_table(), fingerprint="b"))
    assert "does not say what it was trained on" in promotion.verdict.reason


def test_a_champion_that_other_code_split_is_not_compared_with(
    context, prepare_table, release, promote, aliases
):
    prepared = prepare_table()
    older = prepared.model_copy(update={"split": {**prepared.split, "code": "other"}})
    promote(release(older))
    promotion = promote(release(prepared, fingerprint="b"))
    assert "its rows were split by other code than today's" in promotion.verdict.reason
    assert aliases()["champion"] == 1


def test_a_champion_that_changes_meanwhile_is_not_overwritten(
    context, prepare_table, release, promote, monkeypatch
):
    prepared = prepare_table()
    promote(release(prepared))
    release(prepared, skill=0.5, fingerprint="c")
    made = release(prepared, fingerprint="b")
    monkeypatch.setattr("tasks.promotion.compare", _moved_by_another(context))
    with pytest.raises(ServiceError, match="the champion became v2"):
        promote(made)
    assert Registry(context).holder("champion") == 2


def _moved_by_another(context):
    def compare(*arguments):
        Registry(context).set_alias("champion", 2)

    return compare


def test_an_unknown_metric_lists_those_there_are(prepare_table, release, promote):
    with pytest.raises(ConfigError, match="expected one of accuracy, balanced_accuracy"):
        promote(release(prepare_table()), metric="rmse")


def test_a_class_the_champion_does_not_know_gets_nothing():
    values = np.array([[0.2, 0.8]], np.float32)
    found = aligned(values, ("probability_b", "probability_a"), ("a", "b", "c"))
    assert found.tolist() == [[np.float32(0.8), np.float32(0.2), 0.0]]
    assert aligned(values[:, :1], ("prediction",), ()).tolist() == [np.float32(0.2)]
