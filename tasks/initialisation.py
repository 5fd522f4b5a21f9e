"""The registered version that a network starts from, as a file in the storage."""

import json
import logging
from collections.abc import Mapping

import numpy as np

from tasks.config import ModelConfig
from tasks.errors import ConfigError, DataError, StorageError
from tasks.handoffs import PreparedData, RunContext
from tasks.judgement import InitialWeights
from tasks.models import is_estimator
from tasks.registry import DATASET, NETWORK, SPLIT, Registry
from tasks.snapshots import read_snapshot
from tasks.stages import stage
from tasks.storage import Storage
from tasks.unseen import described_columns, rows_tested
from tasks.versions import find_version

SCHEME = "models:/"
NETWORK_FILE = "artifacts/network.keras"
logger = logging.getLogger(__name__)


def parse_address(address: str) -> tuple[str, str | int]:
    """The name of a registered model, and the alias or the version that an address names.

    Args:
        address: `models:/<name>@<alias>` or `models:/<name>/<version>`.
    """
    name, at, alias = address.removeprefix(SCHEME).partition("@")
    if at:
        return name, alias
    name, _, version = name.rpartition("/")
    return name, int(version)


def require_unseen(
    storage: Storage, prepared: PreparedData, tags: Mapping[str, str], address: str
) -> None:
    """Makes sure that no row that will judge the model has trained what it starts from.

    Args:
        storage: Holds the rows.
        prepared: Today's rows and their split.
        tags: Of the version that is started from.
        address: How it was asked for.

    Raises:
        ConfigError: There are such rows.
    """
    if tags.get(DATASET) != prepared.snapshot.dataset or SPLIT not in tags:
        return
    split = json.loads(tags[SPLIT])
    if split == prepared.split:
        return
    rows = storage.array(prepared.test.rows)
    try:
        snapshot = prepared.snapshot
        columns = described_columns(split, snapshot.columns, snapshot.privacy_key)
    except DataError as error:
        logger.warning("Whether test rows have trained %s cannot be told: %s", address, error)
        return
    table = read_snapshot(storage, prepared.snapshot, [column.name for column in columns])
    trained = int(np.sum(~rows_tested(table.take(rows), columns, split)))
    if trained:
        raise ConfigError(
            f"model.initial_weights is {address}, whose rows were split otherwise: {trained:,} of "
            f"the {len(rows):,} rows that would judge the model have trained what it starts from; "
            "expected none. Give split the values that it had there."
        )


@stage(
    code=(
        "tasks.columns",
        "tasks.registry",
        "tasks.identities",
        "tasks.models",
        "tasks.snapshots",
        "tasks.splitting",
        "tasks.unseen",
        "tasks.versions",
    ),
    reuse=False,
)
def find_initial_weights(
    context: RunContext, prepared: PreparedData, model: ModelConfig
) -> InitialWeights:
    """Finds the version that the address stands for now, and copies its network into the storage.

    Raises:
        ConfigError: There is no such version, it is not a network, or rows that test have trained
            it.
        StorageError: Its network is not what was registered.
    """
    address = model.initial_weights
    if address is None:
        return InitialWeights()
    if is_estimator(model.architecture):
        raise ConfigError(
            f"model.initial_weights is {address}, and the architecture {model.architecture!r} is "
            "no network, so it cannot start from one. Leave model.initial_weights out."
        )
    name, wanted = parse_address(address)
    registry, storage = Registry(context, name), Storage(context.storage_uri)
    try:
        number = find_version(registry, str(wanted))
    except ConfigError as error:
        raise ConfigError(f"model.initial_weights is {address}. {error}") from None
    with storage.workspace() as folder:
        path = registry.fetch(number, NETWORK_FILE, folder)
        if path is None:
            raise ConfigError(
                f"model.initial_weights is {address}; v{number} of {name!r} holds no "
                f"{NETWORK_FILE}, so it is no network of Keras. Name another version."
            )
        stored = storage.put_file(path)
    tags = registry.version(number).tags
    require_unseen(storage, prepared, tags, address)
    registered = tags.get(NETWORK, stored.sha256)
    if stored.sha256 != registered:
        raise StorageError(
            f"The network of models:/{name}/{number} has the sha256 {stored.sha256}; expected "
            f"{registered}, as when it was registered. Name another version."
        )
    logger.info("Training starts from models:/%s/%d", name, number)
    return InitialWeights(address=address, name=name, version=number, network=stored)
