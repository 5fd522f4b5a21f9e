"""The datasets that pipelines can name; a new one is one file here and one line below."""

import difflib

from tasks.datasets.breast_cancer import BREAST_CANCER
from tasks.datasets.definition import Dataset, PublishedFile
from tasks.datasets.digits import DIGITS
from tasks.datasets.mnist import MNIST
from tasks.datasets.telco_churn import TELCO_CHURN
from tasks.errors import ConfigError

__all__ = ["DATASETS", "Dataset", "PublishedFile", "get_dataset"]

DATASETS: dict[str, Dataset] = {
    "breast_cancer": BREAST_CANCER,
    "digits": DIGITS,
    "mnist": MNIST,
    "telco_churn": TELCO_CHURN,
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
