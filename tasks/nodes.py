"""A network trained by the processes of several machines, from the hand-offs of a run.

Each process reads the same order and gives its part of every batch; the first logs to the run,
keeps the checkpoint and leaves the result.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.config import ModelConfig, TrainingConfig
from tasks.errors import ConfigError
from tasks.handoffs import Handoff, PreparedData, RunContext
from tasks.judgement import FRESH_WEIGHTS, InitialWeights
from tasks.models import is_estimator
from tasks.network_training import train_network
from tasks.settings import Settings
from tasks.storage import Storage
from tasks.training import training_key

# the variables that JAX and the runtime `jax-distributed` of Kubeflow Trainer know, and the one
# that Kubernetes gives to each pod of an Indexed Job
COORDINATOR, COUNT = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES"
INDICES = ("JAX_PROCESS_ID", "JOB_COMPLETION_INDEX")
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
            "jax-distributed set them; see infra/kubernetes/training."
        )
    return Node(coordinator, int(count), int(index))


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

    if is_estimator(order.model.architecture):
        raise ConfigError(
            f"The order is for {order.model.architecture!r}; expected a network, as only these are "
            "trained on several machines. Train it on one."
        )
    fitting.join(node.coordinator, node.count, node.index)
    context = RunContext(
        **order.model_dump(include={"pipeline", "run_id", "experiment_id", "force", "isolated"}),
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
