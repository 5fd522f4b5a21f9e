"""The README does what it says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.pipelines import load_pipelines
from tasks.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def settings_rows() -> list[str]:
    """The settings table as it should be."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, Path) and default.is_absolute():
            default = default.relative_to(ROOT)
        shown = "" if default is None else f"`{default}`"
        rows.append(f"| `ROUNDHOUSE_{name.upper()}` | {shown} | {field.description} |")
    return rows


def test_every_setting_is_in_the_table() -> None:
    assert re.findall(r"^\| `ROUNDHOUSE_.*$", README, re.MULTILINE) == settings_rows()


def test_the_first_screen_has_the_sentence_the_picture_and_the_commands() -> None:
    first = "\n".join(README.splitlines()[:30])
    for part in ("keeps models fresh", "source ─▶", "$ make run", "$ make test", "Verdict"):
        assert part in first


def test_every_path_in_the_tree_is_there() -> None:
    tree = README.split("## The tree")[1].split("```")[1].strip().splitlines()
    folder = ""
    for line in tree:
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name
            assert (ROOT / name).is_dir()
        else:
            assert (ROOT / folder / name).exists(), line


def test_every_command_of_the_table_exists() -> None:
    command = Path(sys.executable).with_name("roundhouse")
    for name in re.findall(r"^\| `roundhouse (\w+)", README, re.MULTILINE):
        done = subprocess.run([command, name, "--help"], capture_output=True, check=False)
        assert done.returncode == 0, name


def test_every_pipeline_is_in_the_table() -> None:
    table = README.split("| Pipeline | Data | Model |")[1].split("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`([\w-]+)`", row[:80])}
    assert named == set(load_pipelines(Settings().pipelines))


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([\w-]+)", README)) <= targets


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the packages, to which the README's example is added."""
    for package in ("flows", "tasks", "data_checks", "infra"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    return tmp_path


def test_the_worked_example_of_a_dataset_trains(clone: Path) -> None:
    section = README.split("## Add a dataset")[1].split("## Settings")[0]
    dataset, suite = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (block,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    (clone / "tasks/datasets/iris.py").write_text(dataset)
    (clone / "data_checks/suites/iris.py").write_text(suite)
    with (clone / "infra/prefect.yaml").open("a") as stream:
        stream.write(f"\n{block}")
    done = subprocess.run(
        [sys.executable, "-c", "from infra.cli import main; main()", "run", "iris"],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(clone), "ROUNDHOUSE_HOME": str(clone / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "iris v1, champion and challenger" in done.stdout
