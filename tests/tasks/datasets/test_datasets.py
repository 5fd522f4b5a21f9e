import subprocess
import sys

import pytest

from tasks.datasets import DATASETS, get_dataset
from tasks.errors import ConfigError, SourceError


def test_every_dataset_is_known_by_the_name_of_its_file():
    for name, dataset in DATASETS.items():
        assert dataset.name == name
        assert dataset.read.__module__ == f"tasks.datasets.{name}"
        labels = [column.role for column in dataset.columns].count("label")
        # of a text that is to go on, the text itself is what is predicted
        assert labels == (dataset.problem != "text_generation")


def test_an_unknown_dataset_answers_with_the_known_ones_and_the_nearest():
    with pytest.raises(ConfigError, match=r"'digit'.*Did you mean 'digits'.*mnist, .*telco_churn"):
        get_dataset("digit")


def test_a_name_like_no_other_gets_no_suggestion():
    with pytest.raises(ConfigError) as raised:
        get_dataset("xyz")
    assert "Did you mean" not in str(raised.value)


def test_importing_the_datasets_loads_no_heavy_library():
    heavy = {"pyarrow", "pandas", "sklearn", "prefect", "pooch", "fsspec"}
    code = f"import sys, tasks.sources; sys.exit(' '.join({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_bundled_files_of_a_package_that_is_not_installed(monkeypatch):
    dataset = get_dataset("digits")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SourceError, match="come with the package sklearn, which is not installed"):
        _ = dataset.bundled_folder


def test_identifiers_are_personal_and_no_features():
    customer = DATASETS["telco_churn"].columns[0]
    assert (customer.name, customer.role, customer.personal) == ("customerID", "identifier", True)
