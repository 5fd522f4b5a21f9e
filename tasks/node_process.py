"""The first process of a training over several: `python -m tasks.node_process RECORD FILE`.

RECORD names the order in the storage; FILE is left the error, if there is one. What the process
says, it says on standard error; it ends once its standard input does. `tasks.first_node` starts it.
"""

import logging
import os
import sys
from pathlib import Path

from tasks.errors import ConfigError, PermanentError


def main(record: str, last_words: str) -> None:
    """Trains as the process that the environment says this is, and ends it."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    # Keras trains over several machines on JAX only, and reads this as it is imported
    os.environ["KERAS_BACKEND"] = "jax"
    from tasks.fitting import end_with_parent, run_and_leave

    end_with_parent()
    run_and_leave(lambda: _train(record), (PermanentError,), Path(last_words))


def _train(record: str) -> None:
    from tasks.nodes import TrainingOrder, this_node, train_on
    from tasks.settings import load_settings
    from tasks.storage import Storage

    settings = load_settings()
    content = Storage(settings.storage_uri).read_record(record)
    if content is None:
        raise ConfigError(
            f"There is no order {record!r} in the storage {settings.storage_uri}; expected the one "
            "that the run has left there. Give both the same ROUNDHOUSE_STORAGE."
        )
    train_on(this_node(os.environ), TrainingOrder.model_validate_json(content), settings)


if __name__ == "__main__":
    main(*sys.argv[1:])
