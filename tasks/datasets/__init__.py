"""The datasets that pipelines can name: each file here that defines a `DATASET`, by its name."""

import difflib
import importlib
import pkgutil

from tasks.datasets.definition import Dataset, PublishedFile
from tasks.errors import ConfigError

__all__ = ["DATASETS", "Dataset", "PublishedFile", "get_dataset"]

DATASETS: dict[str, Dataset] = {
    found.name: importlib.import_module(f"{__name__}.{found.name}").DATASET
    for found in pkgutil.iter_modules(__path__)
    if found.name != "definition"
}


def get_dataset(name: str) -> Dataset:
    """The dataset of that name.

    Raises:
        ConfigError: There is none; the message lists those that exist, the nearest one first.
    """
    if name in DATASETS:
        return DATASETS[name]
    nearest = difflib.get_close_matches(name, DATASETS, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    raise ConfigError(
        f"There is no dataset '{name}'.{hint} The known ones are {', '.join(sorted(DATASETS))}; "
        "set ingestion.dataset to one of them."
    )
