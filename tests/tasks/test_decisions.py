"""What people decide: a version by hand, the way back, and what the gate makes of both."""

import re

import pytest

from tasks import promotion, tracking
from tasks.decisions import promote_version, read_history, roll_back
from tasks.errors import ConfigError
from tasks.history import Mover
from tasks.registry import PROOF, WITHDRAWN, Registry
from tests import endings
from tests.endings import aliases, end, register

ANN = Mover(by="ann on roundhouse")


@pytest.fixture(autouse=True)
def comparison(monkeypatch):
    monkeypatch.setattr(promotion, "compare", endings.compare)


@pytest.fixture
def promote(context):
    return lambda version, because="it is better on Mondays", **more: promote_version(
        context.mlflow_uri, "trial", version, because, ANN, **more
    )


@pytest.fixture
def back(context):
    return lambda because="it errs", wanted=None: roll_back(
        context.mlflow_uri, "trial", because, ANN, wanted=wanted
    )


@pytest.fixture
def served(context):
    """Three champions, one after the other."""
    register(context)
    for version in (1, 2, 3):
        end(context, version)
    assert aliases(context) == {"champion": 3, "challenger": 3, "previous": 2}


def test_a_rollback_goes_to_the_champion_before_and_a_second_one_further(context, served, back):
    move = back()
    assert (move.kind, move.mover, move.why) == ("rollback", ANN, "it errs")
    assert aliases(context) == {"champion": 2, "challenger": 3, "previous": 1}
    back("")
    assert aliases(context) == {"champion": 1, "challenger": 3}
    assert read_history(context.mlflow_uri, "trial")[-1].why == "no reason was given"
    with pytest.raises(ConfigError, match="trial has nothing to go back to: v1 is its champion"):
        back()
    assert (
        "champion v2 → v1, previous v1 → none (rollback)" in Registry(context).model().description
    )


def test_a_rollback_passes_over_versions_without_proof(context, served, back, promote):
    Registry(context).client.delete_model_version_tag("trial", "2", PROOF)
    with pytest.raises(ConfigError, match=r"v2 of trial has no proof: .* promote trial 2 --force"):
        back(wanted="2")
    back()
    assert aliases(context)["champion"] == 1
    move = promote("2", force=True)
    assert move.forced


def test_forward_again_is_a_promotion_and_the_way_back_is_there_again(
    context, served, back, promote
):
    back()
    move = promote("v3")
    assert (move.kind, move.forced) == ("person", False)
    assert aliases(context) == {"champion": 3, "challenger": 3, "previous": 2}
    back(wanted="1")
    assert aliases(context) == {"champion": 1, "challenger": 3}


def test_what_was_rolled_back_is_marked_and_the_gate_leaves_it_out(context, served, back, promote):
    back("it errs on Mondays")
    tags = Registry(context).version(3).tags
    assert re.match(r"rolled back by ann on roundhouse on .* UTC: it errs", tags[WITHDRAWN])
    verdict = end(context, 3).verdict
    assert not verdict.promoted
    assert "it was taken out of service (rolled back by ann" in verdict.reason
    assert 'roundhouse promote trial 3 --because "..."; not promoted' in verdict.reason
    assert aliases(context)["champion"] == 2
    promote("3")
    assert WITHDRAWN not in Registry(context).version(3).tags
    back()
    assert end(context, 4).champion == 4


def test_a_version_of_the_same_data_and_code_is_left_out_as_well(context, served, back):
    back()
    client = tracking.client(context.mlflow_uri)
    client.set_model_version_tag("trial", "3", "roundhouse.fingerprint", "4" * 64)
    assert "v3, its like, was taken out of service" in end(context, 4).verdict.reason


def test_a_rollback_finds_its_way_past_a_version_that_was_deleted(context, served, back):
    tracking.client(context.mlflow_uri).delete_model_version("trial", "2")
    assert back().version == 1
    assert aliases(context) == {"champion": 1, "challenger": 3}


def test_a_registry_from_before_there_were_records_can_be_rolled_back(context, back):
    register(context)
    client = tracking.client(context.mlflow_uri)
    for alias, number in (("champion", "4"), ("previous", "2"), ("challenger", "4")):
        client.set_registered_model_alias("trial", alias, number)
    back()
    assert aliases(context) == {"champion": 2, "challenger": 4}
    first = read_history(context.mlflow_uri, "trial")[0]
    assert (first.kind, first.why) == ("outside", "was so when the first move was recorded")


def test_a_version_without_proof_needs_force_which_is_recorded(context, served, promote):
    tracking.client(context.mlflow_uri).delete_model_version_tag("trial", "1", PROOF)
    with pytest.raises(ConfigError, match="v1 of trial has no proof: no fresh process"):
        promote("1")
    move = promote("1", force=True)
    assert move.forced
    assert "champion v3 → v1" in Registry(context).model().description
    assert "(by hand, forced)" in Registry(context).model().description
    assert not promote("2", force=True).forced


def test_wrong_use_is_a_sentence_and_moves_nothing(context, served, promote, back):
    before = read_history(context.mlflow_uri, "trial")
    for act, sentence in (
        (lambda: promote("9"), "trial has no version 9; expected one of 1, 2, 3, 4."),
        (lambda: promote("chalenger"), "trial has no alias 'chalenger'; expected challenger (v3)"),
        (lambda: promote("@champion"), "v3 is the champion of trial already; expected another"),
        (lambda: promote("1", "  "), "Received an empty reason; expected why 1 of trial is to be"),
        (lambda: back(wanted="9"), "trial has no version 9; expected one of 1, 2, 3, 4."),
        (lambda: back(wanted="3"), "v3 is the champion of trial already; expected a champion bef"),
        (lambda: back(wanted="4"), "v4 of trial is no champion to go back to; expected one of 1,"),
    ):
        with pytest.raises(ConfigError, match=re.escape(sentence)):
            act()
    assert read_history(context.mlflow_uri, "trial") == before


def test_an_unknown_model_is_said_with_the_nearest(context):
    register(context)
    with pytest.raises(ConfigError, match=r"no registered model 'trail'. Did you mean 'trial'?"):
        roll_back(context.mlflow_uri, "trail", "", ANN)
    with pytest.raises(ConfigError, match='no registered model "it\'s"'):
        promote_version(context.mlflow_uri, "it's", "1", "x", ANN)


def test_without_any_champion_there_is_nothing_to_go_back_to(context, back):
    register(context)
    with pytest.raises(ConfigError, match="nothing to go back to: it has no champion, and no"):
        back()
