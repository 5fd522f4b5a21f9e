"""What a pod of a training over several nodes does before and after it trains."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import AwaitingRetry, Cancelling, Completed, Failed, Pending, Running

from infra.clusters.training_node import Run, _follow
from tasks.nodes import FIRST_PROCESS, JOB_ID, Node


@flow
def trial() -> None:
    """Never run."""


@pytest.fixture
def run(client: SyncPrefectClient) -> Iterator[UUID]:
    made = client.create_flow_run(trial, state=Pending())
    yield made.id
    client.delete_flow_run(made.id)


@pytest.mark.parametrize(
    ("state", "over"),
    [
        (Pending(), False),
        (Running(), False),
        (Completed(), True),
        (Failed(), True),
        (Cancelling(), True),
        # it goes on in another Job
        (AwaitingRetry(), True),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_pod_knows_when_its_run_needs_it_no_more(
    client: SyncPrefectClient, run: UUID, state: Any, over: bool
) -> None:
    client.set_flow_run_state(run, state, force=True)
    assert Run(run).is_over() is over


def test_a_pod_ends_well_where_there_was_nothing_to_train(
    client: SyncPrefectClient,
    run: UUID,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(JOB_ID, "5e1f")
    monkeypatch.setenv("ROUNDHOUSE_STORAGE", str(tmp_path))
    client.set_flow_run_state(run, Completed(), force=True)
    with caplog.at_level("INFO"):
        _follow(Node("training-0.training:8476", 2, 1), Run(run))
    assert "there was nothing to train" in caplog.text


def test_the_first_pod_becomes_the_command_and_says_which_process_that_is() -> None:
    code = f"import os; print(os.environ['{FIRST_PROCESS}'] == str(os.getpid()))"
    variables = {
        **os.environ,
        "JAX_COORDINATOR_ADDRESS": "training-0.training:8476",
        "JAX_NUM_PROCESSES": "2",
        "JOB_COMPLETION_INDEX": "0",
    }
    command = [sys.executable, "-m", "infra.clusters.training_node", sys.executable, "-c", code]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
