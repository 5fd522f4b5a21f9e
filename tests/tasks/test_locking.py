import contextlib
import random
import threading
import time

import pytest

from tasks import locking
from tasks.errors import ServiceError
from tasks.locking import CLAIM, Claim, Hold, locked


class SlowTags:
    """Tags that several machines share, each call of which takes its time."""

    def __init__(self, **tags):
        self.tags, self.seconds = dict(tags), 0.001

    def read(self):
        time.sleep(random.random() * self.seconds)
        return dict(self.tags)

    def write(self, key, value):
        time.sleep(random.random() * self.seconds)
        self.tags[key] = value

    def remove(self, key):
        self.tags.pop(key, None)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(locking, "SECONDS_BETWEEN_LOOKS", 0.001)


def soon():
    return time.monotonic() + 20


def test_of_several_machines_one_is_at_work():
    tags, inside, most, done = SlowTags(), [], [], []

    def work(number):
        for _ in range(5):
            with Claim(tags, soon()):
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.remove(number)
        done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 1, 2, 3, 4, 5]
    assert (set(most), len(most)) == ({1}, 30)
    assert tags.tags == {}


def test_the_claim_of_a_dead_machine_comes_to_its_end(monkeypatch):
    monkeypatch.setattr(locking, "CLAIM_SECONDS", 0.1)
    dead = '{"number": 1, "process": "elsewhere:1", "renewals": 3}'
    choosing = '{"number": 0, "process": "elsewhere:2", "renewals": 0}'
    tags = SlowTags(**{f"{CLAIM}dead": dead, f"{CLAIM}choosing": choosing, "other": "stays"})
    started = time.monotonic()
    with Claim(tags, soon()):
        assert time.monotonic() - started > 0.1
    assert tags.tags == {"other": "stays"}


def test_a_claim_that_is_renewed_is_waited_for(monkeypatch):
    monkeypatch.setattr(locking, "CLAIM_SECONDS", 0.2)
    monkeypatch.setattr(locking, "SECONDS_BETWEEN_RENEWALS", 0.02)
    tags = SlowTags()
    with (
        Claim(tags, soon()) as held,
        pytest.raises(ServiceError, match="its turn at the model registry"),
        Claim(tags, time.monotonic() + 0.5),
    ):
        pass
    assert not held.stands()


def test_whoever_stood_still_too_long_writes_nothing():
    tags = SlowTags()
    with Claim(tags, soon()) as claim:
        Hold(claim).require()
        tags.tags.clear()
        with pytest.raises(ServiceError, match="lost its turn at the model registry"):
            Hold(claim).require()


def test_a_renewal_that_lands_late_brings_no_turn_back(monkeypatch):
    tags = SlowTags()
    with Claim(tags, soon()) as claim:
        # the process stood still, and then its write arrived: the claim is there again
        monkeypatch.setattr(locking, "GIVEN_UP_SECONDS", -1.0)
        claim._write()
        monkeypatch.undo()
        assert any(key.startswith(locking.CLAIM) for key in tags.read())
        assert not claim.stands()
        with pytest.raises(ServiceError, match="lost its turn at the model registry"):
            Hold(claim).require()


def test_the_file_lock_serves_threads_and_another_model_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "LOCK_SECONDS", 0.1)
    uri, refused = f"sqlite:///{tmp_path / 'mlflow.db'}", []

    def ask():
        with contextlib.suppress(ServiceError), locked(uri, "digits", SlowTags()):
            refused.append(False)
            return
        refused.append(True)

    with locked(uri, "digits", SlowTags()), locked(uri, "churn", SlowTags()) as other:
        other.require()
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    ask()
    assert refused == [True, False]
