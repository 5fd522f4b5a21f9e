"""One pipeline whose versions are trained on JAX and on TensorFlow, through the real command."""

from collections.abc import Callable
from typing import Any

import pytest

JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
# as on a GPU, and so that what is trained there is the champion by far
FIRST = ("training.epochs=6", "training.precision=mixed_bfloat16")
BARS = ("gate.minimum=0", "gate.beat_baseline=false", "explanation.enabled=false")


def words(text: str) -> str:
    """A text without the breaks of its lines."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def trained(
    roundhouse_at: Callable[..., Any],
    prefect_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """The command, on a home where JAX, TensorFlow and JAX again have trained a version each."""
    home = tmp_path_factory.mktemp("backends") / "home"
    command = roundhouse_at(home, ROUNDHOUSE_PREFECT_API_URL=prefect_server)
    for variables, changes in (
        (JAX, FIRST),
        ({}, ("training.epochs=2",)),
        (JAX, ("training.epochs=3",)),
    ):
        parts = [part for change in (*changes, *BARS) for part in ("--set", change)]
        done = command("run", "digits", *parts, **variables)
        assert done.returncode == 0, done.stderr
    return command


@pytest.mark.slow
def test_a_challenger_of_another_backend_is_judged_against_the_champion(trained: Any) -> None:
    on_jax_again, on_tensorflow, first = trained.runs("digits")
    backends = [run.data.tags["roundhouse.backend"] for run in trained.runs("digits")]
    assert backends == ["jax", "tensorflow", "jax"]
    assert ("digits", 3, {"champion": 1, "challenger": 3}) in trained.registry()
    of_champion = first.data.metrics["test/accuracy"]
    for challenger in (on_tensorflow, on_jax_again):
        # the champion says the same of these rows on whichever backend it is asked
        assert challenger.data.metrics["champion/accuracy"] == pytest.approx(of_champion, abs=1e-6)


@pytest.mark.slow
def test_a_version_of_jax_is_explained_on_tensorflow(trained: Any) -> None:
    shown = trained("explain", "digits/1", "--row", "0")
    assert shown.returncode == 0, shown.stderr


@pytest.mark.slow
def test_a_version_of_jax_comes_out_again_there_and_elsewhere_it_is_said_how(trained: Any) -> None:
    again = trained("reproduce", "digits/1", **JAX)
    assert "came out again bit for bit" in words(again.stdout), again.stderr
    elsewhere = trained("reproduce", "digits/1")
    assert "Set KERAS_BACKEND=jax." in words(elsewhere.stdout + elsewhere.stderr)
