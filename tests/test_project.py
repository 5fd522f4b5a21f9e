"""The habits that hold the project together."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import flows.training
from data_checks.suites import SUITES
from infra.pipelines import configure, load_pipelines
from tasks.datasets import DATASETS
from tasks.freshness import training_modules
from tasks.models import MODELS
from tasks.settings import Settings
from tasks.stages import Stage

ROOT = Path(__file__).parent.parent
PACKAGES = ("flows", "tasks", "data_checks", "infra")
STAGES = [value for value in vars(flows.training).values() if isinstance(value, Stage)]
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


# what only carries, shows or records has no part in what a stage hands on
CARRIERS = {
    "tasks.aliases", "tasks.apart", "tasks.cancelling", "tasks.exports",
    "tasks.announcements", "tasks.cards", "tasks.contenders", "tasks.energy", "tasks.turns",
    "tasks.leases",
    "tasks.config", "tasks.network_config", "tasks.appraisal_config", "tasks.stage_config",
    "tasks.encryption", "tasks.errors", "tasks.evidence", "tasks.fingerprints", "tasks.freshness",
    "tasks.handoffs", "tasks.history", "tasks.home", "tasks.judgement", "tasks.appraisal",
    "tasks.appraisal_evidence", "tasks.keys",
    "tasks.lineage", "tasks.locking", "tasks.monitor", "tasks.parameters", "tasks.planning",
    "tasks.processes",
    "tasks.progress", "tasks.remote", "tasks.scratch", "tasks.services", "tasks.settings",
    "tasks.stages", "tasks.storage", "tasks.stores", "tasks.summary", "tasks.tracking",
}  # fmt: skip
# these have a part in what a stage hands on, and none in what a model becomes
SHOWN = {
    "data_checks.page", "tasks.canvas", "tasks.explanation_pictures", "tasks.illustration",
    "tasks.pictures", "tasks.prover",
    "tasks.logged_models", "tasks.registry", "tasks.slice_pictures", "tasks.slice_tables",
    "tasks.model_card", "tasks.sources",
}  # fmt: skip
# two lists of what there is, in which a new name changes nothing for the others
LISTS = {"tasks.datasets", "data_checks.suites"}


@pytest.fixture(scope="module")
def imports() -> Any:
    """Which module imports which, also inside functions."""
    import grimp

    return grimp.build_graph(*PACKAGES, cache_dir=None)


@pytest.mark.parametrize("name", load_pipelines(Settings().pipelines))
def test_whatever_a_training_uses_is_in_its_fingerprint(name: str, imports: Any) -> None:
    """A module that a stage imports and the fingerprint forgets would make stale champions."""
    config = configure(load_pipelines(Settings().pipelines)[name], ())
    dataset, architecture = config.ingestion.dataset, config.model.architecture
    others = {f"tasks.models.{other}" for other in set(MODELS) - {architecture}}
    for folder in ("tasks.datasets", "data_checks.suites"):
        others |= {f"{folder}.{other}" for other in set(DATASETS) - {dataset}}
    used = {module for module in imports.find_upstream_modules("flows.training") if "." in module}
    named = {module.removesuffix(".__init__") for module in training_modules(config)}
    # a package stands for all of its modules
    left = {module for module in used if not f"{module}.".startswith(tuple(f"{n}." for n in named))}
    left -= {module for module in left if module.startswith("tasks.model_card.")}
    assert left - others <= CARRIERS | SHOWN | LISTS
    assert not named & others
    assert all(find_spec(module) for module in named)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_whatever_a_stage_uses_makes_it_run_again(stage: Stage[..., Any], imports: Any) -> None:
    """A module that its `code=` forgets could change, and the old hand-off would be recalled."""
    used: set[str] = set()
    pending = {stage.fn.__module__}
    while pending:
        used |= pending
        found = set().union(*map(imports.find_modules_directly_imported_by, pending))
        ours = {module for module in found if module.startswith(("tasks.", "data_checks"))}
        pending = ours - used - CARRIERS
    covered = tuple(f"{module}." for module in stage.code)
    assert sorted(module for module in used if not f"{module}.".startswith(covered)) == []


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
        if re.search(r"p[y]pi\.org|pythonh[o]sted|/home/\w+/|/root/|--index-url", path.read_text())
    ]
    assert found == []
