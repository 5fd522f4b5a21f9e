"""The habits that hold the project together."""

import re
from pathlib import Path

import pytest

from data_checks.suites import SUITES
from infra.pipelines import configure, load_pipelines
from tasks.datasets import DATASETS
from tasks.freshness import training_modules
from tasks.models import MODELS
from tasks.settings import Settings

ROOT = Path(__file__).parent.parent
PACKAGES = ("flows", "tasks", "data_checks", "infra")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def test_every_dataset_has_a_suite_and_files_of_its_name() -> None:
    assert set(SUITES) == set(DATASETS)
    for name in DATASETS:
        assert (ROOT / "tasks" / "datasets" / f"{name}.py").is_file()
        assert (ROOT / "data_checks" / "suites" / f"{name}.py").is_file()


def test_every_pipeline_names_a_dataset_and_a_model_that_exist() -> None:
    pipelines = load_pipelines(Settings().pipelines)
    for pipeline in pipelines.values():
        config = configure(pipeline, ())
        assert config.ingestion.dataset in DATASETS
        assert config.model.architecture in MODELS


def test_whatever_a_training_uses_is_in_its_fingerprint() -> None:
    """A module that a stage imports and the fingerprint forgets would make stale champions."""
    import grimp

    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    used = graph.find_upstream_modules("flows.training")
    config = configure(load_pipelines(Settings().pipelines)["digits"], ())
    named = training_modules(config)
    own_choice = ("tasks.datasets", "tasks.models", "data_checks.suites")
    forgotten = {
        module
        for module in used
        if module not in named and not module.startswith(own_choice) and "." in module
    }
    # what only carries, shows or records has no part in what a model becomes
    assert forgotten <= {
        "data_checks.page", "tasks.config", "tasks.errors", "tasks.evidence", "tasks.fingerprints",
        "tasks.freshness", "tasks.handoffs", "tasks.home", "tasks.judgement", "tasks.lineage",
        "tasks.pictures", "tasks.planning", "tasks.progress", "tasks.prover", "tasks.registry",
        "tasks.remote", "tasks.settings", "tasks.sources", "tasks.stages", "tasks.storage",
        "tasks.summary", "tasks.tracking",
    }  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_keep_to_their_budget(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_no_import_of_a_heavy_library_at_the_top_of_what_a_flow_imports() -> None:
    import subprocess
    import sys

    code = (
        "import sys, flows.training\n"
        "heavy = {'tensorflow', 'keras', 'great_expectations', 'mlflow', 'sklearn', 'pandas',"
        " 'pyarrow', 'matplotlib'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_lock_has_hashes_and_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    pins = re.findall(r"^([\w.-]+)==\S+", lock, flags=re.MULTILINE)
    assert len(pins) > 100
    assert lock.count("--hash=sha256:") >= len(pins)
    assert "index-url" not in lock
    assert "://" not in lock


def test_nothing_names_an_index_or_a_path_of_one_machine() -> None:
    found = [
        str(path)
        for path in [*SOURCES, *ROOT.glob("*.md"), *ROOT.glob("*.toml"), ROOT / "Makefile"]
        if re.search(r"pypi\.org|pythonhosted|/home/\w+/|/root/|--index-url", path.read_text())
    ]
    assert found == []
