"""How aliases move: serialised, in one history, and mended after a crash between any two writes."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks import promotion, tracking
from tasks.errors import ServiceError
from tasks.history import moves_in
from tasks.registry import JUDGED_AGAINST, WITHDRAWN, Registry
from tests import endings
from tests.endings import aliases, end, ended_together, register

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def comparison(monkeypatch):
    monkeypatch.setattr(promotion, "compare", endings.compare)


def recorded(context):
    return moves_in(Registry(context).model().tags)


def test_each_move_is_recorded_with_who_when_from_to_and_why(context):
    register(context)
    first, second = end(context, 1), end(context, 2)
    assert aliases(context) == {"champion": 2, "challenger": 2, "previous": 1}
    one, two = recorded(context)
    assert (one.number, two.number) == (1, 2)
    assert [change.sentence for change in two.changes] == [
        "previous none → v1", "challenger v1 → v2", "champion v1 → v2",
    ]  # fmt: skip
    assert (one.why, two.why) == (first.verdict.reason, second.verdict.reason)
    assert two.mover.run_id == context.run_id
    assert " on " in two.mover.by
    assert two.at.endswith("+00:00")
    assert two.completed
    assert not (two.forced)
    assert not (two.mended)
    page = Registry(context).model().description
    assert page.startswith("Made for a test.")
    assert "champion v1 → v2, challenger v1 → v2, previous none → v1" in page


def test_a_judgement_that_moves_nothing_has_no_record(context):
    register(context)
    end(context, 3)
    end(context, 1)
    end(context, 1)
    assert [move.version for move in recorded(context)] == [3, 1]
    assert recorded(context)[-1].change("champion") is None
    assert aliases(context) == {"champion": 3, "challenger": 1}


def test_what_moved_past_roundhouse_is_recorded_and_not_undone(context):
    register(context)
    end(context, 1)
    end(context, 2)
    tracking.client(context.mlflow_uri).set_registered_model_alias("trial", "champion", "1")
    lost = end(context, 2)
    assert "v2 was taken out of service" in lost.verdict.reason or not lost.verdict.promoted
    outside = recorded(context)[2]
    assert (outside.kind, outside.version, outside.mover.by) == ("outside", 1, "somebody")
    assert aliases(context)["champion"] == 1
    assert end(context, 3).champion == 3


WRITES = (
    "set_registered_model_alias", "delete_registered_model_alias", "set_registered_model_tag",
    "set_model_version_tag", "delete_model_version_tag", "update_model_version",
    "update_registered_model",
)  # fmt: skip


class Faulty:
    """A client that breaks off at its n-th write, before it or right after."""

    def __init__(self, client, allowed, *, after):
        self.client, self.left, self.after = client, allowed, after

    def __getattr__(self, name):
        call = getattr(self.client, name)
        if name not in WRITES:
            return call

        def write(*arguments, **named):
            self.left -= 1
            if self.left < 0 and not self.after:
                raise ServiceError("The registry is away.")
            result = call(*arguments, **named)
            if self.left < 0:
                raise ServiceError("The registry is away.")
            return result

        return write


def state(context, versions=4):
    """All that a promotion leaves in the registry, but for when it happened."""
    registry = Registry(context)
    moves = [
        move.model_copy(update={"at": "", "completed": "", "mended": False})
        for move in recorded(context)
    ]
    tags = [registry.version(number).tags for number in range(1, versions + 1)]
    pages = [registry.version(number).description for number in range(1, versions + 1)]
    return aliases(context), moves, tags, pages


@pytest.mark.parametrize(
    "after", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["before", "after"]
)
def test_killed_between_any_two_writes_and_run_again_it_comes_to_the_same(
    context, monkeypatch, after
):
    """Each model is one case: broken off at its n-th write, then run again to the end."""
    original, told = Registry.client, []
    monkeypatch.setattr(
        "tasks.announcements.announce_verdict", lambda *a: told.append((a[0].pipeline, a[1]))
    )
    expected, broken = None, -1
    while True:
        name = context.model_copy(update={"pipeline": f"trial-{broken}"})
        register(name, name=name.pipeline)
        end(name, 1)
        faulty = Faulty(tracking.client(context.mlflow_uri), max(broken, 0), after=after)
        if broken >= 0:
            monkeypatch.setattr(Registry, "client", faulty)
            try:
                end(name, 2, compare_with_champion=False)
                break
            except ServiceError:
                monkeypatch.setattr(Registry, "client", original)
        assert end(name, 2, compare_with_champion=False).champion == 2
        found = state(name)
        expected = expected or found
        assert found == expected, f"broken off at write {broken}"
        assert recorded(name)[-1].completed
        assert recorded(name)[-1].mended == (broken in ((1, 2, 3, 4) if after else (2, 3, 4, 5)))
        assert (name.pipeline, 2) in told
        broken += 1
    assert broken == 9
    assert expected[2][1][JUDGED_AGAINST] == "1"


def test_whoever_comes_next_completes_what_broke_off(context, monkeypatch):
    register(context)
    end(context, 1)
    original = Registry.client
    monkeypatch.setattr(
        Registry, "client", Faulty(tracking.client(context.mlflow_uri), 2, after=False)
    )
    with pytest.raises(ServiceError):
        end(context, 2)
    monkeypatch.setattr(Registry, "client", original)
    assert aliases(context)["champion"] == 1
    assert not recorded(context)[-1].completed
    assert end(context, 3).champion_before == 2
    assert [(m.version, m.mended) for m in recorded(context)] == [
        (1, False), (2, True), (3, False),
    ]  # fmt: skip
    assert aliases(context) == {"champion": 3, "challenger": 3, "previous": 2}


def test_what_was_completed_by_hand_after_a_crash_is_left_as_it_is(context, monkeypatch):
    register(context)
    end(context, 1)
    original, client = Registry.client, tracking.client(context.mlflow_uri)
    monkeypatch.setattr(Registry, "client", Faulty(client, 2, after=False))
    with pytest.raises(ServiceError):
        end(context, 2)
    monkeypatch.setattr(Registry, "client", original)
    client.set_registered_model_alias("trial", "champion", "4")
    end(context, 3)
    assert aliases(context)["champion"] == 4
    assert [move.kind for move in recorded(context)] == ["gate", "gate", "outside", "gate"]


def require_one_history(context):
    """Two runs ended together: the better one serves, and the records tell one story."""
    found = ended_together(context)
    assert found.aliases["champion"] == 3
    assert [move["number"] for move in found.moves] == list(range(1, len(found.moves) + 1))
    assert all(move["completed"] for move in found.moves)
    state = {}
    for move in found.moves:
        for change in move["changes"]:
            assert state.get(change["alias"]) == change["before"]
            state[change["alias"]] = change["after"]
    assert state == found.aliases
    champions = [
        change["after"]
        for move in found.moves
        for change in move["changes"]
        if change["alias"] == "champion"
    ]
    assert champions in ([1, 2, 3], [1, 3])
    assert found.aliases["previous"] == champions[-2]
    # the last that was judged is the challenger
    assert found.aliases["challenger"] == found.moves[-1]["version"]
    assert not [key for key in found.tags if ".claim." in key]
    return champions


def test_two_threads_that_end_together_have_one_history(context):
    for number in range(3):
        name = context.model_copy(update={"pipeline": f"trial-{number}"})
        register(name, name=name.pipeline)
        end(name, 1)
        both = [threading.Thread(target=end, args=(name, version)) for version in (2, 3)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        require_one_history(name)


def end_together(context, folder, rounds, environments):
    (folder / "context.json").write_text(context.model_dump_json())
    for number in range(rounds):
        name = context.model_copy(update={"pipeline": f"trial-{number}"})
        register(name, name=name.pipeline)
        end(name, 1)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.endings", str(folder), version, str(rounds)],
            cwd=ROOT, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True,
        )
        for version, environment in zip(("2", "3"), environments, strict=True)
    ]  # fmt: skip
    for process in processes:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said[-3000:]
    names = [f"trial-{number}" for number in range(rounds)]
    return [require_one_history(context.model_copy(update={"pipeline": n})) for n in names]


@pytest.mark.slow
def test_two_processes_that_end_together_fifty_times_have_one_history_each(context, tmp_path):
    lines = end_together(context, tmp_path, 50, ({}, {}))
    assert [1, 2, 3] in lines
    assert [1, 3] in lines


@pytest.mark.slow
def test_two_machines_on_one_server_have_one_history(context, tmp_path, stack):
    """No file lock reaches from one to the other: each has a temporary folder of its own."""
    uri = stack.mlflow
    experiment = tracking.open_experiment(uri, "trial", None)
    run_id = tracking.client(uri).create_run(experiment).info.run_id
    update = {"mlflow_uri": uri, "experiment_id": experiment, "run_id": run_id}
    places = [tmp_path / "one", tmp_path / "other"]
    for place in places:
        place.mkdir()
    environments = [{"TMPDIR": str(place)} for place in places]
    end_together(context.model_copy(update=update), tmp_path, 20, environments)


def test_the_mark_of_what_was_taken_out_of_service_is_on_the_version(context):
    register(context)
    end(context, 1)
    tracking.client(context.mlflow_uri).set_registered_model_alias("trial", "champion", "2")
    end(context, 3)
    assert "moved in MLflow's pages" in Registry(context).version(1).tags[WITHDRAWN]
    assert WITHDRAWN not in Registry(context).version(2).tags
