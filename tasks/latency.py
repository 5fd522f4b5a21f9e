"""How long the served code needs for a single row."""

import itertools
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.handoffs import PreparedData
from tasks.judgement import Package
from tasks.storage import Storage

# the first rows find caches cold and code not compiled yet
ROWS_BEFORE, ROWS_AT_MOST, SECONDS_AT_MOST = 5, 300, 5.0
ARTIFACTS = "artifacts/"


def time_single_rows(
    storage: Storage, package: Package, prepared: PreparedData
) -> NDArray[np.float64]:
    """Milliseconds for each of some validation rows, sent one by one to the packaged code.

    It is what a server runs: preparation of the raw row, the network, and the frame of the answer;
    without the network between and MLflow's own checks, which are the same for all models.

    Args:
        storage: Where the package and the rows are.
        package: The model with its code.
        prepared: The rows; as many as five seconds allow, 300 at most.

    Returns:
        float64 [rows].
    """
    found: list[float] = []
    with storage.workspace() as folder:
        model = _loaded(storage, package, folder)
        started = time.perf_counter()
        for row in _single_rows(storage, prepared):
            before = time.perf_counter()
            model.predict(None, row)
            found.append(1000 * (time.perf_counter() - before))
            if len(found) > ROWS_BEFORE and time.perf_counter() - started > SECONDS_AT_MOST:
                break
    return np.array(found[ROWS_BEFORE:] or found)


def _loaded(storage: Storage, package: Package, folder: Path) -> Any:
    """The packaged model, loaded as a server does."""
    from tasks.served import ServedModel

    artifacts = {}
    for name, file in package.files.items():
        if name.startswith(ARTIFACTS):
            path = folder / Path(name).name
            shutil.copyfile(storage.path(file), path)
            artifacts[path.stem] = str(path)
    model = ServedModel()
    model.load_context(SimpleNamespace(artifacts=artifacts))
    return model


def _single_rows(storage: Storage, prepared: PreparedData) -> Any:
    """Raw validation rows, each as a batch of its own."""
    from tasks.served_rows import raw_rows

    snapshot = prepared.snapshot
    rows = storage.array(prepared.validation.rows)
    chosen = rows[: ROWS_BEFORE + ROWS_AT_MOST]
    columns = [column.model_dump() for column in snapshot.features]
    batches = raw_rows(storage.path(snapshot.file), columns, chosen)
    return itertools.chain.from_iterable(
        (batch[number : number + 1] for number in range(len(batch))) for batch in batches
    )
