import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import astuple

import pytest

from tasks.config import ModelConfig, TrainingConfig
from tasks.errors import ConfigError, ServiceError
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import TrainedModel
from tasks.nodes import FIRST_PROCESS, TrainingOrder, ended_together, this_node
from tasks.storage import Storage

JOB = {"JAX_COORDINATOR_ADDRESS": "training-0.training:8476", "JAX_NUM_PROCESSES": "2"}


def test_a_pod_of_an_indexed_job_knows_which_it_is() -> None:
    node = this_node(JOB | {"JOB_COMPLETION_INDEX": "1"})
    assert astuple(node) == ("training-0.training:8476", 2, 1)


def test_the_runtime_of_a_train_job_tells_by_its_own_name() -> None:
    assert this_node(JOB | {"JAX_PROCESS_ID": "0", "JOB_COMPLETION_INDEX": "1"}).index == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "number \\(none\\) of 2"),
        ({"JOB_COMPLETION_INDEX": "2"}, "number 2 of 2"),
        ({"JOB_COMPLETION_INDEX": "0", "JAX_COORDINATOR_ADDRESS": "here"}, "host:port"),
    ],
)
def test_what_does_not_say_which_process_this_is_is_refused(
    wrong: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        this_node(JOB | wrong)


def test_a_pod_that_lost_another_has_its_first_process_end_and_says_nothing() -> None:
    first = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    code = (
        "from tasks.errors import ServiceError; from tasks.nodes import Node, ended_together\n"
        "with ended_together(Node('training-0.training:8476', 2, 0)):\n"
        "    raise ServiceError('lost')"
    )
    variables = os.environ | {FIRST_PROCESS: str(first.pid)}
    run = subprocess.Popen([sys.executable, "-c", code], env=variables)
    assert first.wait(60) == -signal.SIGTERM
    # whoever is told to end ends it, and says nothing of how
    assert run.poll() is None
    run.terminate()
    assert run.wait(60) == -signal.SIGTERM


def test_a_service_that_fails_a_training_alone_is_told_as_it_is() -> None:
    with pytest.raises(ServiceError, match="MLflow"), ended_together(None):
        raise ServiceError("MLflow does not answer.")


@pytest.mark.slow
@pytest.mark.parametrize("ordered", [True, False])
def test_two_pods_leave_one_trained_model(
    ordered: bool, context: RunContext, prepare_table: Callable[..., PreparedData]
) -> None:
    storage = Storage(context.storage_uri)
    order = TrainingOrder(
        pipeline=context.pipeline,
        run_id=context.run_id,
        experiment_id=context.experiment_id,
        record="orders/result",
        prepared=prepare_table(),
        model=ModelConfig(),
        training=TrainingConfig(epochs=2, batch_size=32),
    )
    if ordered:
        storage.write_record("orders/training", order.model_dump_json())
    variables = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "ROUNDHOUSE_STORAGE": context.storage_uri,
        "ROUNDHOUSE_TRACKING_URI": context.mlflow_uri,
        "JAX_PLATFORMS": "cpu",
        "JAX_COORDINATOR_ADDRESS": "127.0.0.1:29537",
        "JAX_NUM_PROCESSES": "2",
    }
    command = [sys.executable, "-m", "infra.clusters.training_node", "--order", "orders/training"]
    pods = [
        subprocess.Popen(
            command,
            env=variables | {"JOB_COMPLETION_INDEX": str(index)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    said = [pod.communicate(timeout=300)[1] for pod in pods]
    if not ordered:
        assert [pod.returncode for pod in pods] == [78, 78]
        assert "no order 'orders/training'" in said[0]
        return
    assert [pod.returncode for pod in pods] == [0, 0], said
    trained = TrainedModel.model_validate_json(storage.read_record("orders/result") or "")
    assert trained.hardware.backend == "jax"
    assert len(trained.hardware.devices) == 2
    assert len(trained.history["val_loss"]) == 2
    assert storage.has(trained.network)
