"""One pod of a training over several nodes: `python -m infra.clusters.training_node RECORD`.

RECORD names the order in the storage. It ends with 0, with 78 where no other attempt would mend it,
and with 1 where all pods are to start again at the last checkpoint.
"""

import argparse
import logging
import os

from tasks.errors import ConfigError, PermanentError
from tasks.settings import load_settings


def main(arguments: list[str] | None = None) -> None:
    """Trains as the pod that the environment says this is, and ends the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", help="name of the order in the storage")
    record = parser.parse_args(arguments).record
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # Keras trains over several machines on JAX only, and reads this as it is imported
    os.environ["KERAS_BACKEND"] = "jax"
    from tasks.fitting import run_and_leave

    run_and_leave(lambda: _train(record), (PermanentError,))


def _train(record: str) -> None:
    from tasks.nodes import TrainingOrder, this_node, train_on
    from tasks.storage import Storage

    settings, node = load_settings(), this_node(os.environ)
    content = Storage(settings.storage_uri).read_record(record)
    if content is None:
        raise ConfigError(
            f"There is no order {record!r} in the storage; expected the parameters of the flow "
            "train-apart there, as JSON. Leave them there with Storage.write_record first."
        )
    train_on(node, TrainingOrder.model_validate_json(content), settings)


if __name__ == "__main__":
    main()
