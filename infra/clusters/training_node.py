"""One pod of a training over several nodes: `python -m infra.clusters.training_node COMMAND...`.

The first pod becomes the command, by which Prefect executes the run. The others wait until that is
about to train, and train with it. They end with 0 when they are done, or when the run has ended
otherwise; with 78 where no other attempt would mend it; and with 1 where all are to start again at
the last checkpoint.

With `--order RECORD` there is no run: every pod trains by the order of that name in the storage.
"""

import argparse
import logging
import os
import threading
import time
from collections.abc import Sequence
from uuid import UUID

from tasks.errors import ConfigError, PermanentError
from tasks.nodes import FIRST_PROCESS, JOB_ID, Node, TrainingOrder, order_of, this_node, train_on
from tasks.settings import load_settings
from tasks.storage import Storage

RUN_ID = "PREFECT__FLOW_RUN_ID"
SECONDS_BETWEEN_LOOKS = 3.0
# what others have to say how the run ended, or to notice that it has
PATIENCE_SECONDS = 15.0
logger = logging.getLogger("infra.clusters.training_node")


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains as the pod that the environment says this is, and ends the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--order", help="name of an order in the storage")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="executes the run")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # Keras trains over several machines on JAX only, and reads this as it is imported; what is
    # logged outside of a run stays in the pod
    os.environ |= {"KERAS_BACKEND": "jax", "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore"}
    node = this_node(os.environ)
    if given.order is None and node.index == 0:
        # it is told to end by this number where the others are lost
        os.environ[FIRST_PROCESS] = str(os.getpid())
        os.execvp(given.command[0], given.command)
    from tasks.fitting import run_and_leave

    if given.order is not None:
        run_and_leave(lambda: _train(node, given.order), (PermanentError,))
    run = Run(UUID(os.environ[RUN_ID]))
    threading.Thread(target=run.outlive_by_little, daemon=True, name="run").start()
    run_and_leave(lambda: _follow(node, run), (PermanentError,))


class Run:
    """The run that the pods train for.

    Args:
        run_id: Its id.
    """

    def __init__(self, run_id: UUID) -> None:
        self._id = run_id

    def is_over(self) -> bool:
        """Whether it has ended, is being cancelled, or goes on in another Job."""
        import httpx
        from prefect.client.orchestration import get_client

        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(self._id).state
        except httpx.HTTPError as error:
            logger.debug("The run's state cannot be read for now: %s", error)
            return False
        return state is not None and (
            state.is_final() or state.is_cancelling() or state.is_scheduled()
        )

    def wait_until_over(self, seconds: float) -> None:
        """Returns once it is over, or the time is."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.is_over():
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def outlive_by_little(self) -> None:
        """Ends this process soon after the run, whatever it is doing then."""
        while not self.is_over():
            time.sleep(SECONDS_BETWEEN_LOOKS)
        time.sleep(PATIENCE_SECONDS)
        logger.info("The run is over; so is this pod")
        logging.shutdown()
        os._exit(0)


def _follow(node: Node, run: Run) -> None:
    """Trains with the first pod once that is about to; not at all where it never is."""
    storage, record = Storage(load_settings().storage_uri), order_of(os.environ[JOB_ID])
    logger.info("Node %d of %d waits for the first to train", node.index + 1, node.count)
    while (content := storage.read_record(record)) is None:
        if run.is_over():
            logger.info("The run is over, and there was nothing to train")
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)
    try:
        _train_by(node, content)
    except Exception:
        # Kubernetes ends the first pod with this one, which may be about to say in the run why
        run.wait_until_over(PATIENCE_SECONDS)
        raise


def _train(node: Node, record: str) -> None:
    """Trains by an order that somebody left."""
    content = Storage(load_settings().storage_uri).read_record(record)
    if content is None:
        raise ConfigError(
            f"There is no order {record!r} in the storage; expected the parameters of the flow "
            "train-apart there, as JSON. Leave them there with Storage.write_record first."
        )
    _train_by(node, content)


def _train_by(node: Node, content: str) -> None:
    train_on(node, TrainingOrder.model_validate_json(content), load_settings())


if __name__ == "__main__":
    main()
