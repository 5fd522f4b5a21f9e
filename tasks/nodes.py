"""A network trained by the processes of several machines, from the hand-offs of a run.

Each process reads the same order and gives its part of every batch; the first logs to the run and
keeps the checkpoint. The run itself leaves the order, in the first pod of its Job, where
`tasks.first_node` starts the first process; or a person does, for pods that no run is at work in.
"""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from tasks.config import ModelConfig, TrainingConfig
from tasks.errors import ConfigError, ServiceError
from tasks.first_node import train_with_others
from tasks.handoffs import Handoff, PreparedData, RunContext
from tasks.judgement import FRESH_WEIGHTS, InitialWeights, TrainedModel
from tasks.models import is_estimator
from tasks.settings import Settings
from tasks.storage import Storage

# the variables that JAX and the runtime `jax-distributed` of Kubeflow Trainer know, and the one
# that Kubernetes gives to each pod of an Indexed Job
COORDINATOR, COUNT = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES"
INDICES = ("JAX_PROCESS_ID", "JOB_COMPLETION_INDEX")
# of the Job whose pods train for a run, and the first process of its first pod
JOB_ID, FIRST_PROCESS = "ROUNDHOUSE_TRAINING_JOB_ID", "ROUNDHOUSE_FIRST_PROCESS"
# its first process ends a pod sooner
SECONDS_TO_END = 120
logger = logging.getLogger(__name__)


class TrainingOrder(Handoff):
    """What is to be trained, and where the result goes; the parameters of the flow `train-apart`.

    Args:
        pipeline: Name of the pipeline.
        run_id: Id of the MLflow run to log to.
        experiment_id: Id of its experiment.
        record: Name of the record in the storage that the trained model is left under.
        prepared: The rows.
        model: The network.
        training: The training loop.
        initial: What the network starts from.
        force: Train again although nothing changed.
        attempt_of: What the attempts of a forced run share.
        isolated: Recall no earlier training, and leave none to be recalled.
    """

    pipeline: str
    run_id: str
    experiment_id: str
    record: str
    prepared: PreparedData
    model: ModelConfig
    training: TrainingConfig
    initial: InitialWeights = FRESH_WEIGHTS
    force: bool = False
    attempt_of: str = ""
    isolated: bool = False


@dataclass(frozen=True)
class Node:
    """One of several processes.

    Args:
        coordinator: Host and port of the first.
        count: Processes in all.
        index: Of this one, from 0.
    """

    coordinator: str
    count: int
    index: int


def this_node(environment: Mapping[str, str]) -> Node:
    """Which process this is, by its environment.

    Args:
        environment: Variables, such as `os.environ`.

    Raises:
        ConfigError: They do not say.
    """
    index = next((environment[name] for name in INDICES if name in environment), "")
    count, coordinator = environment.get(COUNT, ""), environment.get(COORDINATOR, "")
    numbers = count.isdecimal() and index.isdecimal() and int(index) < int(count)
    if not numbers or not coordinator.rpartition(":")[2].isdecimal():
        raise ConfigError(
            f"This process is number {index or '(none)'} of {count or '(none)'} with its first one "
            f"at {coordinator or '(none)'}; expected {COORDINATOR} as host:port, {COUNT} as a "
            f"number, and {' or '.join(INDICES)} below it. An Indexed Job and the runtime "
            "jax-distributed set them; infra/README.md says how to ask for several nodes."
        )
    return Node(coordinator, int(count), int(index))


def node_of_run(environment: Mapping[str, str]) -> Node | None:
    """Which of several processes that of a run is; None where it trains alone.

    Args:
        environment: Variables, such as `os.environ`.

    Raises:
        ConfigError: It is one of several, and they do not say which.
    """
    return this_node(environment) if JOB_ID in environment else None


def order_of(job_id: str) -> str:
    """Name of the record by which a Job's first pod tells the others what to train."""
    return f"orders/{job_id}"


@contextlib.contextmanager
def ended_together(node: Node | None) -> Iterator[None]:
    """While it lasts, this pod ends where another of the same training is lost.

    It does so without a word in the state of the run, as if it had been told to: whoever watches
    the pods says which was lost, and why, and has all of them start again.

    Args:
        node: Which of several processes this is; None where it trains alone.
    """
    try:
        yield
    except ServiceError as error:
        if node is None:
            raise
        _end_pod(error)


def train_together(
    node: Node,
    context: RunContext,
    prepared: PreparedData,
    model: ModelConfig,
    training: TrainingConfig,
    initial: InitialWeights,
) -> TrainedModel:
    """What the pods of a Job make of a training, of which the first is that of its run.

    Args:
        node: The first of them.
        context: The run.
        prepared: The rows.
        model: The network.
        training: The loop.
        initial: What the network starts from.

    Raises:
        PermanentError: As by `train_on`.
        ServiceError: One of them was lost.
        StorageError: The storage cannot be read or written.
    """
    name = order_of(os.environ[JOB_ID])
    order = TrainingOrder(
        **context.model_dump(include=set(TrainingOrder.model_fields)),
        record=f"{name}-result",
        prepared=prepared,
        model=model,
        training=training,
        initial=initial,
    )
    storage = Storage(context.storage_uri)
    storage.write_record(name, order.model_dump_json())
    logger.info("Training on %d nodes, as soon as all of them are there", node.count)
    return train_with_others(name, order.record, storage)


def train_on(node: Node, order: TrainingOrder, settings: Settings) -> None:
    """Trains as one of several processes; the first leaves a record of the trained model.

    Args:
        node: Which process this is.
        order: What is trained.
        settings: Of this machine.

    Raises:
        ConfigError: The order is for trees, or the network cannot be trained so.
        TrainingDiverged: The loss is not a finite number any more.
        StorageError: The storage cannot be read or written.
    """
    from tasks import fitting
    from tasks.network_training import train_network
    from tasks.training import training_key

    if is_estimator(order.model.architecture):
        raise ConfigError(
            f"The order is for {order.model.architecture!r}; expected a network, as only these are "
            "trained on several machines. Train it on one."
        )
    fitting.join(node.coordinator, node.count, node.index)
    context = RunContext(
        **order.model_dump(include=set(RunContext.model_fields)),
        mlflow_uri=settings.mlflow_uri,
        mlflow_pages=settings.mlflow_pages,
        storage_uri=settings.storage_uri,
    )
    key = training_key(order.prepared, order.model, order.training, order.initial)
    trained = train_network(
        context, order.prepared, order.model, order.training, order.initial, key
    )
    if fitting.is_first():
        Storage(context.storage_uri).write_record(order.record, trained.model_dump_json())
        logger.info("The trained model is in the record %s", order.record)


def _end_pod(error: ServiceError) -> NoReturn:
    logger.error("%s", error)
    # what is not sent by now never is
    logging.shutdown()
    if FIRST_PROCESS in os.environ:
        # Prefect's own handler would tidy up for half a minute
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(int(os.environ[FIRST_PROCESS]), signal.SIGTERM)
        time.sleep(SECONDS_TO_END)
    os._exit(1)
