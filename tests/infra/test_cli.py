"""The command line as a person meets it; `run` itself is tested in tests/flows."""

import re
from importlib import metadata
from typing import Any

import pytest

from infra.pipelines import load_pipelines
from tasks.settings import Settings

PIPELINES = load_pipelines(Settings().pipelines)


def lines_of(text: str) -> dict[str, str]:
    """Per pipeline, its line of a table."""
    return {name: re.search(rf"^{name} .*$", text, re.MULTILINE)[0] for name in PIPELINES}


def test_the_version_is_that_of_the_distribution(roundhouse: Any) -> None:
    done = roundhouse("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"roundhouse {metadata.version('roundhouse-ml')}\n"


@pytest.mark.parametrize("arguments", [("--help",), ()])
def test_the_help_names_every_command(roundhouse: Any, arguments: tuple[str, ...]) -> None:
    done = roundhouse(*arguments)
    for command in ("run", "list", "status", "up", "worker", "deploy", "doctor"):
        assert re.search(rf"^│ {command} +\w", done.stdout + done.stderr, re.MULTILINE)


def test_an_unknown_command_is_said_so(roundhouse: Any) -> None:
    done = roundhouse("trian")
    assert done.returncode == 2
    assert "No such command 'trian'" in done.stderr


def test_the_list_shows_dataset_model_and_schedule(roundhouse: Any) -> None:
    done = roundhouse("list")
    assert (done.returncode, done.stderr) == (0, "")
    lines = lines_of(done.stdout)
    assert re.match(r"digits +digits +mlp +0 2 \* \* \*", lines["digits"])
    assert re.match(r"mnist-cnn +mnist +cnn +0 3 \* \* 0", lines["mnist-cnn"])
    assert not roundhouse.home.exists()


def test_on_a_fresh_home_no_pipeline_ever_ran(roundhouse: Any) -> None:
    done = roundhouse("status")
    assert (done.returncode, done.stderr) == (0, "")
    for name, line in lines_of(done.stdout).items():
        assert line.split() == [name, "none", "never"]
    assert not roundhouse.home.exists()


def test_after_a_run_the_status_shows_its_champion(first_digits: Any) -> None:
    done = first_digits("status")
    assert (done.returncode, done.stderr) == (0, "")
    lines = lines_of(done.stdout)
    pattern = r"digits +v1 +accuracy 0\.9\d+ +\d+ min ago +\d+ min ago +finished, promoted"
    assert re.match(pattern, lines["digits"])
    assert lines["churn"].split() == ["churn", "none", "never"]


def test_a_service_that_does_not_answer_gets_one_sentence(roundhouse: Any) -> None:
    done = roundhouse("status", ROUNDHOUSE_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 1
    assert re.match(r"✗ The MLflow server at http://127.0.0.1:9 does not answer .*\n$", done.stderr)
